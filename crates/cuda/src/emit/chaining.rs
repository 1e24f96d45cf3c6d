//! Chains of an instruction's parts.

use super::moving::repeated;
use super::work::{EmitError, Tensor, Work};
use crate::chain::{Chain, ChainInput, ChainOperand, ChainPart, ChainRead};
use crate::effort::Effort;
use crate::elements::Elements;
use crate::factors::Factors;
use bitbudget_formats::Format;
use bitbudget_ir::{Expression, Form, Op, Read};
use bitbudget_program::BufferId;

/// A chain in the making, with the addresses of what it reads.
#[derive(Debug)]
pub(super) struct Chaining {
    pub(super) chain: Chain,
    pub(super) inputs: Vec<u64>,
    /// The instruction's part of each of the chain's, if it is one.
    pub(super) parts: Vec<Option<usize>>,
    /// How many elements a channel has, for each of [`Chain::sizes`].
    pub(super) sizes: Vec<usize>,
    /// The order and shape of its elements.
    like: BufferId,
}

impl Chaining {
    /// A chain of elements that lie as those of a buffer do.
    pub(super) fn new(like: BufferId) -> Chaining {
        let chain = Chain { inputs: Vec::new(), parts: Vec::new() };
        Chaining { chain, inputs: Vec::new(), parts: Vec::new(), sizes: Vec::new(), like }
    }

    /// The chain of an operand of a part, element by element, and the format of its numbers.
    pub(super) fn of_operand(
        work: &mut Work<'_>,
        part: usize,
        position: usize,
    ) -> Result<(Chaining, Format), EmitError> {
        let id = work.parts[part].inputs[position];
        let mut chaining = Chaining::new(id);
        let operand = chaining.value(work, id, part, ChainRead::Each)?;
        if let ChainOperand::Input(_) = operand {
            chaining.pass(operand);
        }
        Ok((chaining, work.buffer(id).format))
    }

    /// Adds a part whose numbers are those of an operand.
    pub(super) fn pass(&mut self, operand: ChainOperand) {
        self.push(None, Expression::Operand(0), vec![operand]);
    }

    /// Adds a part that is none of the instruction's.
    pub(super) fn add(&mut self, expression: Expression, operands: Vec<ChainOperand>) {
        self.push(None, expression, operands);
    }

    /// Adds the instruction's part that is computed of what kernels before left in the workspace.
    pub(super) fn last(&mut self, work: &Work<'_>, part: usize, expression: Expression, operands: Vec<ChainOperand>) {
        self.push(Some(part), expression, operands);
        if let Some(pushed) = self.chain.parts.last_mut() {
            pushed.rounding = work.rounding(part);
        }
    }

    fn push(&mut self, part: Option<usize>, expression: Expression, operands: Vec<ChainOperand>) -> ChainOperand {
        self.chain.parts.push(ChainPart { expression, operands, rounding: None, stored: None });
        self.parts.push(part);
        ChainOperand::Part(self.chain.parts.len() - 1)
    }

    /// A tensor that is read.
    pub(super) fn input(&mut self, elements: Elements, read: ChainRead, address: u64) -> ChainOperand {
        let input = ChainInput { elements, read };
        let found = (0..self.inputs.len()).find(|&i| self.chain.inputs[i] == input && self.inputs[i] == address);
        ChainOperand::Input(found.unwrap_or_else(|| {
            self.chain.inputs.push(input);
            self.inputs.push(address);
            self.inputs.len() - 1
        }))
    }

    /// What a part reads: an earlier part's result, or a tensor.
    pub(super) fn value(
        &mut self,
        work: &mut Work<'_>,
        id: BufferId,
        before: usize,
        read: ChainRead,
    ) -> Result<ChainOperand, EmitError> {
        match work.part_of(id, before) {
            Some(part) if read == ChainRead::Each => self.part(work, part),
            Some(_) => Err(work.error(before, "it reads a result of its own step by channel")),
            None => {
                if read == ChainRead::Each && work.shape(id) == work.shape(self.like) {
                    let (of, like) = (work.order(id), work.order(self.like));
                    if !of.is_same(&like) {
                        return Err(
                            work.error(before, format!("an operand of {:?} lies in another order", work.shape(id)))
                        );
                    }
                }
                Ok(self.input(work.elements(id), read, work.address(id)))
            }
        }
    }

    /// A part of the instruction, with those that it reads.
    pub(super) fn part(&mut self, work: &mut Work<'_>, part: usize) -> Result<ChainOperand, EmitError> {
        if let Some(at) = self.parts.iter().position(|&of| of == Some(part)) {
            return Ok(ChainOperand::Part(at));
        }
        let facts = work.facts(part);
        let (op, inputs) = (&work.parts[part].op, &work.parts[part].inputs);
        let (expression, operands) = match (op, &facts.form) {
            (Op::BatchNormalize(_) | Op::BatchNormGradInput(_), _) => self.normalised(work, part)?,
            (_, Form::Alias) => (Expression::Operand(0), vec![self.value(work, inputs[0], part, ChainRead::Each)?]),
            (_, Form::Map(expression)) => {
                let mut operands = Vec::with_capacity(inputs.len());
                for (position, &id) in inputs.iter().enumerate() {
                    operands.push(self.operand(work, part, id, facts.reads.of(position))?);
                }
                (expression.clone(), operands)
            }
            _ => return Err(work.error(part, "it cannot be computed element by element")),
        };
        let operand = self.push(Some(part), expression, operands);
        if let Some(pushed) = self.chain.parts.last_mut() {
            pushed.rounding = work.rounding(part);
        }
        let last = self.chain.parts.len() - 1;
        for (_, position) in self.chain.sizes().into_iter().filter(|(of, _)| *of == last) {
            let shape = work.shape(work.parts[part].inputs[position]);
            self.sizes.push(shape.iter().product::<usize>() / shape.get(1).copied().unwrap_or(1).max(1));
        }
        Ok(operand)
    }

    fn operand(
        &mut self,
        work: &mut Work<'_>,
        part: usize,
        id: BufferId,
        read: Read,
    ) -> Result<ChainOperand, EmitError> {
        match read {
            Read::Each => self.value(work, id, part, ChainRead::Each),
            Read::Channel => self.value(work, id, part, ChainRead::Channel),
            Read::Scalar => self.value(work, id, part, ChainRead::Scalar),
            // Its shape alone says something, which is no argument of a kernel.
            Read::Shape => Ok(self.input(work.elements(id), ChainRead::Each, work.address(id))),
            Read::Broadcast => {
                if work.part_of(id, part).is_some() {
                    return Err(work.error(part, "it repeats a result of its own step"));
                }
                let Tensor { elements, address } = repeated(work, part, id, self.like)?;
                Ok(self.input(elements, ChainRead::Each, address))
            }
            Read::Whole => Err(work.error(part, "it reads more than an element")),
        }
    }

    /// Normalisation by channel, whose factors another kernel computes.
    fn normalised(&mut self, work: &mut Work<'_>, part: usize) -> Result<(Expression, Vec<ChainOperand>), EmitError> {
        let inputs = work.parts[part].inputs.clone();
        let shape = work.shape(work.parts[part].output).to_vec();
        let channels = shape.get(1).copied().unwrap_or(1);
        let x = Expression::Operand;
        let fused = |a, b, c| Expression::Fma(Box::new([a, b, c]));
        let (epsilon, is_gradient) = match &work.parts[part].op {
            Op::BatchNormalize(op) => (op.epsilon.0, false),
            Op::BatchNormGradInput(op) => (op.epsilon.0, true),
            _ => return Err(work.error(part, "it is no normalisation")),
        };
        let first = if is_gradient { 2 } else { 1 };
        if let Some(&id) = inputs[first..].iter().find(|&&id| work.part_of(id, part).is_some()) {
            return Err(work.error(part, format!("{id} is computed in its own step")));
        }
        let of_channels: Vec<(Elements, u64)> =
            inputs[first + 1..].iter().map(|&id| (work.elements(id), work.address(id))).collect();
        let count = shape.iter().product::<usize>() / channels.max(1);
        let factors = match is_gradient {
            false => Factors::normalize(epsilon, of_channels[0].0, of_channels[1].0),
            true => Factors::gradient(epsilon, [0, 1, 2, 3].map(|i| of_channels[i].0)),
        };
        let results: Vec<u64> = (0..factors.results()).map(|_| work.scratch(4 * channels)).collect();
        let read: Vec<u64> = of_channels.iter().map(|of| of.1).take(factors.operands()).collect();
        let arguments = factors.arguments(&read, &results, channels, count);
        work.launch("factors", &|name| factors.kernel(name), (Factors::blocks(channels), 0), arguments);
        let mut operands = Vec::new();
        for &id in &inputs[..first] {
            operands.push(self.value(work, id, part, ChainRead::Each)?);
        }
        operands.push(self.value(work, inputs[first], part, ChainRead::Channel)?);
        for address in results {
            operands.push(self.input(Elements::Fp32, ChainRead::Channel, address));
        }
        Ok(match is_gradient {
            false => {
                operands.push(self.value(work, inputs[4], part, ChainRead::Channel)?);
                (fused(x(0) - x(1), x(2), x(3)), operands)
            }
            true => (fused(x(0), x(3), fused(x(1) - x(2), x(4), x(5))), operands),
        })
    }

    /// The parts that are counted, in order.
    pub(super) fn counted(&self) -> Vec<usize> {
        let counted = |(part, of): (&ChainPart, &Option<usize>)| of.filter(|_| part.rounding.is_some_and(|r| r.2));
        self.chain.parts.iter().zip(&self.parts).filter_map(counted).collect()
    }

    /// Launches the chain: results with memory are stored, and what overflows is counted.
    pub(super) fn launch(mut self, work: &mut Work<'_>) {
        let mut addresses = self.inputs.clone();
        for (i, part) in self.parts.iter().enumerate() {
            let Some(part) = *part else { continue };
            let id = work.parts[part].output;
            if work.is_stored(id) && work.heads().contains(&part) {
                self.chain.parts[i].stored = Some(work.elements(id));
                addresses.push(work.address(id));
            }
        }
        self.launch_to(work, &addresses);
    }

    /// Launches the chain, whose stored parts are known; addresses are those of inputs and results.
    pub(super) fn launch_to(self, work: &mut Work<'_>, addresses: &[u64]) {
        let counters = work.counters(&self.counted());
        let shape = work.order(self.like).around_channels();
        let elements: usize = shape.iter().product();
        work.takes(Effort::of_threads(elements as f64 * self.chain.instructions()));
        let arguments = self.chain.arguments(shape, addresses, counters, &self.sizes);
        let chain = &self.chain;
        work.launch("chain", &|name| chain.kernel(name), (Chain::blocks(elements), 0), arguments);
    }

    /// Where a kernel computes numbers more than once, another one counts them.
    pub(super) fn count_apart(&self, work: &mut Work<'_>) {
        if self.counted().is_empty() {
            return;
        }
        let copy = Chaining {
            chain: self.chain.clone(),
            inputs: self.inputs.clone(),
            parts: self.parts.clone(),
            sizes: self.sizes.clone(),
            like: self.like,
        };
        let addresses = copy.inputs.clone();
        copy.launch_to(work, &addresses);
    }
}
