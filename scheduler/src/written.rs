//! Answers as they are sent.

use std::ops::Range;

use axum::body::Bytes;

use crate::answers::{Filtered, Refusal, filter, score};
use crate::nodes::Nodes;
use crate::room::Taken;
use crate::score::Divisors;
use crate::wire::{Arriving, LastSeen, NodeList, Question};

/// What is sent, one piece behind the other.
pub type Pieces = Vec<Bytes>;

/// The answer to a filter question, in the memory that the question came in where it has whole nodes.
///
/// # Errors
/// The question cannot be answered.
pub fn filtered(
    body: Taken<String>,
    nodes: Option<&Nodes>,
    (arrived, last): (&Arriving, &LastSeen),
) -> Result<Pieces, Refusal> {
    let question = Question::read(&body.held, arrived)?;
    last.note(&body.held, &question);
    let Filtered { nodes, rest } = filter(question, nodes)?;
    let rest = json(&rest)?;
    let Some(list) = nodes else {
        return Ok(vec![rest.into()]);
    };
    let (head, kept, mut tail) = frame(&list);
    // Into the same object as the nodes.
    if rest != b"{}" {
        tail.push(b',');
    }
    tail.extend_from_slice(&rest[1..]);
    let mut pieces = vec![head.into()];
    if let Some(kept) = kept {
        let mut body = body.bytes();
        keep(&mut body.held, &kept);
        pieces.push(body.sent());
    }
    pieces.push(tail.into());
    Ok(pieces)
}

/// The answer to a score question.
///
/// # Errors
/// The question cannot be answered.
pub fn scored(
    body: &str,
    divisors: &Divisors,
    nodes: Option<&Nodes>,
    (arrived, last): (&Arriving, &LastSeen),
) -> Result<Pieces, Refusal> {
    let question = Question::read(body, arrived)?;
    last.note(body, &question);
    let scores = score(question, divisors, nodes)?;
    Ok(vec![json(&scores)?.into()])
}

fn json(answer: &impl serde::Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(answer)
        .map_err(|error| Refusal::Bad(format!("the answer cannot be written: {error}")))
}

/// What is before the nodes of a list, where they are in the question, and what is behind them.
fn frame(list: &NodeList<'_>) -> (Vec<u8>, Option<Vec<Range<usize>>>, Vec<u8>) {
    let mut head = String::from("{\"nodes\":{");
    if let Some(metadata) = list.metadata {
        head.push_str("\"metadata\":");
        head.push_str(metadata);
        head.push(',');
    }
    head.push_str("\"items\":");
    let Some(items) = &list.items else {
        return (head.into_bytes(), None, b"null}".to_vec());
    };
    head.push('[');
    let place = items.iter().map(|node| node.at..node.at + node.raw.len());
    (head.into_bytes(), Some(place.collect()), b"]}".to_vec())
}

/// Leaves nothing in `body` but these values of one of its arrays, in their order, with a comma between.
fn keep(body: &mut Vec<u8>, values: &[Range<usize>]) {
    let mut end = 0;
    for value in values {
        if end > 0 {
            // Between two values of an array was at least that one byte.
            body[end] = b',';
            end += 1;
        }
        body.copy_within(value.clone(), end);
        end += value.len();
    }
    body.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_place_whatever_was_between() {
        let text = r#"{"items":[1,{"a":2} , [3],"four"  ,5]}"#;
        let places = ["1", r#"{"a":2}"#, "[3]", r#""four""#, "5"].map(|value| {
            let at = text.find(value).unwrap();
            at..at + value.len()
        });
        for subset in 0..1_u32 << places.len() {
            let chosen = places.iter().enumerate();
            let chosen = chosen.filter(|(at, _)| subset >> at & 1 == 1);
            let chosen: Vec<_> = chosen.map(|(_, place)| place.clone()).collect();
            let mut body = text.as_bytes().to_vec();
            keep(&mut body, &chosen);
            let expected: Vec<_> = chosen.iter().map(|place| &text[place.clone()]).collect();
            assert_eq!(body, expected.join(",").as_bytes());
        }
    }
}
