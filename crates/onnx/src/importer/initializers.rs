//! Initializers as the values that their names stand for.

use super::parameters::is_uniform;
use super::state::{Importer, Initializer};
use crate::analysis::pytorch::is_value;
use crate::analysis::scalars::{Scalar, Source};
use crate::file::constant::{Constant, Elements};
use crate::file::tensor::Decoded;
use crate::importer::Value;
use crate::warning::WarningKind;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Importer {
    pub(crate) fn add_initializer(&mut self, name: &str, decoded: Decoded) {
        let Decoded { constant, rounded } = decoded;
        let constant = Rc::new(constant);
        let scalar = constant.shape.is_empty().then(|| self.clues.source.scalar(&self.clues.signature, name));
        let is_float = matches!(constant.elements, Elements::Floats(_));
        if is_float && scalar == Some(Scalar::Unclear) {
            self.unclear.insert(name.into());
        }
        let trained = is_float && scalar.is_none_or(|scalar| scalar == Scalar::Parameter);
        self.names.take(name);
        let value = match trained {
            _ if self.clues.frozen.contains(name) => self.frozen(name, constant),
            true if self.clues.constants.contains(name) || self.is_number(name, &constant) => Value::Constant(constant),
            true if self.clues.signature.is_computed(name, is_uniform(&constant)) => Value::Constant(constant),
            true => self.initializer(name, constant, rounded, self.initializers.len()),
            false => Value::Constant(constant),
        };
        self.known.insert(name.into(), value);
    }

    /// Whether an initializer of one element in a vector or a matrix is a number of the program, by a name that an exporter made up.
    fn is_number(&self, name: &str, constant: &Constant) -> bool {
        let is_one = matches!(&constant.elements, Elements::Floats(floats) if floats.len() == 1);
        is_one
            && self.clues.source == Source::Any
            && self.clues.signature.is_parameter(name).is_none()
            && is_value(name)
    }

    fn initializer(&mut self, name: &str, constant: Rc<Constant>, rounded: bool, origin: usize) -> Value {
        let (uniform, parameters) = (is_uniform(&constant), BTreeMap::new());
        self.initializers.push(Initializer { name: name.into(), constant, rounded, uniform, origin, parameters });
        Value::Initializer(self.initializers.len() - 1)
    }

    /// The initializer that a value is which the file makes of a shape and a number.
    pub(crate) fn made_initializer(&mut self, name: &str, constant: Rc<Constant>) -> Value {
        let value = self.initializer(name, constant, false, self.initializers.len());
        self.known.insert(name.into(), value.clone());
        value
    }

    /// The initializer that a value is for which quantised numbers of the file stand.
    pub(crate) fn dequantized(&mut self, name: &str, constant: Constant) -> Value {
        self.initializer(name, Rc::new(constant), false, self.initializers.len())
    }

    fn frozen(&mut self, name: &str, constant: Rc<Constant>) -> Value {
        if self.is_read(name) {
            self.warn(WarningKind::FrozenStatistics, name);
        }
        Value::Constant(constant)
    }

    /// A value under the name that Identity gives it: an initializer that may have been merged with others gets its own back, unless the
    /// file lists the program's tensors by their own names.
    pub(crate) fn renamed(&mut self, value: &Value, name: &str) -> Value {
        let Value::Initializer(i) = value else { return value.clone() };
        let Initializer { constant, rounded, uniform, origin, .. } = &self.initializers[*i];
        let (constant, rounded, uniform, origin) = (constant.clone(), *rounded, *uniform, *origin);
        match (self.clues.frozen.contains(name), uniform) {
            (true, _) => self.frozen(name, constant),
            (false, true) if !self.clues.signature.is_known() => self.initializer(name, constant, rounded, origin),
            (false, _) => value.clone(),
        }
    }
}
