//! What clients were answered can be explained by one server that does one thing after the other: nothing
//! that was acknowledged is lost, nothing is done twice, nothing is read that is old.

use crate::history::History;
use crate::invariant::{Invariant, View};
use crate::linear::check_linear;
use crate::model::{Counter, Number, Register};
use crate::replica::{Node, Note, Op};
use dvs_kv::protocol::Answer;
use std::collections::BTreeMap;

/// Answers can be explained.
#[derive(Debug, Default)]
pub struct Explained {
    pairs: History<Register<'static>, Number>,
    bank: History<Counter, Number>,
    calls: BTreeMap<u64, (Op, usize)>,
}

fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.try_into().ok()?))
}

/// What the answer says.
fn said(op: Op, answer: &[u8]) -> Option<Number> {
    match (op, Answer::decode(answer)) {
        (Op::Sum | Op::Add, _) => number(answer).map(Number::Is),
        (Op::Put(..), Some(Answer::Put(_))) => Some(Number::Done),
        (Op::Get(_), Some(Answer::Value(None))) => Some(Number::Is(0)),
        (Op::Get(_), Some(Answer::Value(Some((_, value))))) => number(&value).map(Number::Is),
        _ => None,
    }
}

impl Invariant<Node> for Explained {
    fn name(&self) -> &'static str {
        "answers can be explained by one server"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            match note {
                Note::Calls(id, op) => {
                    let call = match *op {
                        Op::Get(key) => self.pairs.begin(view.now(), Register::Read(key)),
                        Op::Put(key, value) => self.pairs.begin(view.now(), Register::Write(key, value)),
                        Op::Sum => self.bank.begin(view.now(), Counter::Read),
                        Op::Add => self.bank.begin(view.now(), Counter::Add(1)),
                    };
                    self.calls.insert(*id, (*op, call));
                }
                Note::Answered(id, answer) => {
                    let Some((op, call)) = self.calls.get(id) else { continue };
                    let reply = said(*op, answer).ok_or_else(|| format!("{op:?} was answered {answer:?}"))?;
                    match op {
                        Op::Get(_) | Op::Put(..) => self.pairs.reply(*call, reply, view.now()),
                        Op::Sum | Op::Add => self.bank.reply(*call, reply, view.now()),
                    }
                }
                Note::Failed(id, _) => match self.calls.get(id) {
                    Some((Op::Get(_) | Op::Put(..), call)) => self.pairs.nothing(*call),
                    Some((_, call)) => self.bank.nothing(*call),
                    None => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        check_linear(&self.pairs).map_err(|e| format!("pairs: {e}"))?;
        check_linear(&self.bank).map_err(|e| format!("bank: {e}"))
    }
}
