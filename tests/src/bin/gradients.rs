//! Writes what a trainer file holds after one step of SGD without weight decay at learning rate 0, whose velocities are the gradients.
//!
//! `gradients FILE.trainer OUT`: parameter and gradient in turn, as FP32 numbers without anything between; prints a line of JSON per
//! parameter, its name and its shape.

use bitbudget::Compiled;
use bitbudget_ir::{NodeId, Op};
use std::io::{BufWriter, Error, Result, Write};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trainer, out] = arguments.as_slice() else {
        return Err(Error::other("usage: gradients FILE.trainer OUT"));
    };
    let compiled = Compiled::decode(&std::fs::read(trainer)?).map_err(Error::other)?;
    let graph = &compiled.training;
    let values = |id: NodeId| graph.op(id).source_name().and_then(|name| Some((name, compiled.values.get(name)?)));
    let mut file = BufWriter::new(std::fs::File::create(out)?);
    for &(velocity, update) in graph.updates() {
        let (Op::SgdVelocity(_), Some(&parameter)) = (graph.op(update), graph.operands(update).get(1)) else {
            continue;
        };
        let (Some((name, weights)), Some((_, gradient))) = (values(parameter), values(velocity)) else { continue };
        for number in weights.iter().chain(gradient) {
            file.write_all(&number.to_le_bytes())?;
        }
        println!("{}", serde_json::json!({"name": name, "shape": graph.ty(parameter).shape.at(1)}));
    }
    file.flush()
}
