//! Attributes of operators as plain values, so that text form, file form and comparison are written once.

use crate::types::{DType, Dim, Shape};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A finite floating-point attribute with a total order, so that operators can be compared and hashed.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Real {}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Real) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Real {
    fn cmp(&self, other: &Real) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Real(Real),
    /// A string.
    Text(String),
    /// A list of whole numbers.
    Ints(Vec<i64>),
    /// A shape, which may hold the batch size.
    Shape(Shape),
}

/// Operators whose attributes can be listed and rebuilt.
pub trait Attributes: Sized {
    /// Names and values in declaration order.
    fn attributes(&self) -> Vec<(&'static str, Attribute)>;
    /// The attributes that differ from their default: what the text form shows.
    fn shown_attributes(&self) -> Vec<(&'static str, Attribute)>;
    /// The operator with the named attributes; one that is left out has its default, unknown ones are refused.
    fn from_attributes(attributes: &[(String, Attribute)]) -> Result<Self, String>;
}

/// Conversion of one attribute type.
pub(crate) trait AttributeValue: Sized {
    fn to_attribute(&self) -> Attribute;
    fn from_attribute(attribute: &Attribute) -> Option<Self>;
}

macro_rules! attribute_value {
    ($type:ty, $variant:ident, $this:ident => $to:expr, $value:ident => $from:expr) => {
        impl AttributeValue for $type {
            fn to_attribute(&self) -> Attribute {
                let $this = self;
                Attribute::$variant($to)
            }
            fn from_attribute(attribute: &Attribute) -> Option<Self> {
                match attribute {
                    Attribute::$variant($value) => $from,
                    _ => None,
                }
            }
        }
    };
}

attribute_value!(bool, Bool, b => *b, v => Some(*v));
attribute_value!(usize, Int, n => *n as i64, v => usize::try_from(*v).ok());
attribute_value!(Real, Real, r => *r, v => Some(*v));
attribute_value!(String, Text, s => s.clone(), v => Some(v.clone()));
attribute_value!([usize; 2], Ints, p => p.iter().map(|&n| n as i64).collect(), v => match v.as_slice() {
    [a, b] => Some([usize::try_from(*a).ok()?, usize::try_from(*b).ok()?]),
    _ => None,
});
attribute_value!(Vec<usize>, Ints, l => l.iter().map(|&n| n as i64).collect(),
    v => v.iter().map(|&n| usize::try_from(n).ok()).collect());
attribute_value!(Vec<i64>, Ints, l => l.clone(), v => Some(v.clone()));
attribute_value!(Shape, Shape, s => s.clone(), v => Some(v.clone()));

attribute_value!(DType, Text, t => t.name().into(), v => DType::ALL.into_iter().find(|t| t.name() == v));

/// Looks one attribute up.
pub(crate) fn take<T: AttributeValue>(
    attributes: &[(String, Attribute)],
    name: &str,
    default: Option<T>,
) -> Result<T, String> {
    match attributes.iter().find(|(n, _)| n == name) {
        Some((_, value)) => {
            T::from_attribute(value).ok_or_else(|| format!("attribute `{name}` has the wrong type: {value}"))
        }
        None => default.ok_or_else(|| format!("attribute `{name}` is missing")),
    }
}

/// The attribute, unless it has its default value.
pub(crate) fn shown<T: AttributeValue + PartialEq>(
    name: &'static str,
    value: &T,
    default: Option<T>,
) -> Option<(&'static str, Attribute)> {
    (default.as_ref() != Some(value)).then(|| (name, value.to_attribute()))
}

/// Fails on an attribute that is not among `known`.
pub(crate) fn refuse_unknown(attributes: &[(String, Attribute)], known: &[&str]) -> Result<(), String> {
    match attributes.iter().find(|(n, _)| !known.contains(&n.as_str())) {
        Some((name, _)) => Err(format!("attribute `{name}` is not known here; known are: {}", known.join(", "))),
        None => Ok(()),
    }
}

/// Declares an operator's struct of attributes with its comparison, text and file forms.
///
/// `name: type = value` gives an attribute a default, which the text form leaves out; it may read attributes declared before.
macro_rules! operator {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident : $type:ty $(= $default:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $crate::attribute::Attributes for $name {
            fn attributes(&self) -> Vec<(&'static str, $crate::attribute::Attribute)> {
                vec![$((stringify!($field), $crate::attribute::AttributeValue::to_attribute(&self.$field))),*]
            }
            fn shown_attributes(&self) -> Vec<(&'static str, $crate::attribute::Attribute)> {
                let $name { $($field),* } = self;
                let all: Vec<Option<(&'static str, $crate::attribute::Attribute)>> = vec![$({
                    let default: Option<$type> = $crate::attribute::default_value!($($default)?);
                    $crate::attribute::shown(stringify!($field), $field, default)
                }),*];
                all.into_iter().flatten().collect()
            }
            fn from_attributes(attributes: &[(String, $crate::attribute::Attribute)]) -> Result<Self, String> {
                $crate::attribute::refuse_unknown(attributes, &[$(stringify!($field)),*])?;
                $(
                    let default = $crate::attribute::default_value!($($default)?);
                    let $field: $type = $crate::attribute::take(attributes, stringify!($field), default)?;
                )*
                Ok($name { $($field),* })
            }
        }
    };
}

/// The default of an attribute, if it has one.
macro_rules! default_value {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}
pub(crate) use {default_value, operator};

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attribute::Bool(b) => write!(f, "{b}"),
            Attribute::Int(n) => write!(f, "{n}"),
            Attribute::Real(r) => write!(f, "{:?}", r.0),
            Attribute::Text(s) => write!(f, "{s:?}"),
            Attribute::Ints(list) => {
                let items: Vec<String> = list.iter().map(i64::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
            Attribute::Shape(shape) => {
                let items: Vec<String> = shape.0.iter().map(Dim::to_string).collect();
                write!(f, "<{}>", items.join(","))
            }
        }
    }
}
