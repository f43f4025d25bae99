//! Reads the values of one section, and notices those nobody asked for.

use std::collections::HashSet;

use super::super::MetadataError;
use super::super::config::{Node, Section, Value};
use crate::lvm::label;

pub(super) struct Fields<'s, 't> {
    object: String,
    section: &'s Section<'t>,
    read: HashSet<&'s str>,
}

impl<'s, 't> Fields<'s, 't> {
    pub(super) fn new(object: &str, section: &'s Section<'t>) -> Self {
        Self {
            object: object.to_owned(),
            section,
            read: HashSet::new(),
        }
    }

    pub(super) fn bad(&self, field: &'static str) -> MetadataError {
        MetadataError::Field {
            object: self.object.clone(),
            field,
        }
    }

    fn get(&mut self, field: &str) -> Option<&'s Node<'t>> {
        let (name, node) = self.section.entries().find(|(name, _)| *name == field)?;
        self.read.insert(name);
        Some(node)
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, MetadataError> {
        self.number_or_none(field)?.ok_or_else(|| self.bad(field))
    }

    pub(super) fn number_or_none(
        &mut self,
        field: &'static str,
    ) -> Result<Option<u64>, MetadataError> {
        match self.get(field) {
            None => Ok(None),
            Some(Node::Value(value)) => value.number().map(Some).ok_or_else(|| self.bad(field)),
            Some(_) => Err(self.bad(field)),
        }
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, MetadataError> {
        match self.get(field) {
            Some(Node::Value(value)) => value
                .text()
                .map(str::to_owned)
                .ok_or_else(|| self.bad(field)),
            _ => Err(self.bad(field)),
        }
    }

    /// The text, or an empty one where there is none.
    pub(super) fn text_or_none(&mut self, field: &'static str) -> Result<String, MetadataError> {
        if self.section.get(field).is_none() {
            return Ok(String::new());
        }
        self.text(field)
    }

    pub(super) fn values(&mut self, field: &'static str) -> Result<&'s [Value<'t>], MetadataError> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Node::List(values)) => Ok(values),
            // LVM takes a single value for a list of one.
            Some(Node::Value(value)) => Ok(std::slice::from_ref(value)),
            Some(Node::Section(_)) => Err(self.bad(field)),
        }
    }

    pub(super) fn texts(&mut self, field: &'static str) -> Result<Vec<String>, MetadataError> {
        let values = self.values(field)?.iter();
        values
            .map(|value| {
                value
                    .text()
                    .map(str::to_owned)
                    .ok_or_else(|| self.bad(field))
            })
            .collect()
    }

    /// The status words and the compatible flags, all of which must be among `known`.
    pub(super) fn flags(&mut self, known: &[&str]) -> Result<Vec<String>, MetadataError> {
        if self.section.get("status").is_none() {
            return Err(self.bad("status"));
        }
        let mut all = self.texts("status")?;
        all.extend(self.texts("flags")?);
        match all.iter().find(|flag| !known.contains(&flag.as_str())) {
            None => Ok(all),
            Some(flag) => Err(MetadataError::Unknown {
                object: self.object.clone(),
                what: flag.clone(),
            }),
        }
    }

    pub(super) fn uuid(&mut self) -> Result<String, MetadataError> {
        let id = self.text("id")?;
        let raw: Vec<u8> = id.bytes().filter(|b| *b != b'-').collect();
        label::format_uuid(&raw)
            .filter(|uuid| *uuid == id)
            .ok_or_else(|| self.bad("id"))
    }

    pub(super) fn section(
        &mut self,
        field: &str,
    ) -> Result<Option<&'s Section<'t>>, MetadataError> {
        match self.get(field) {
            None => Ok(None),
            Some(Node::Section(section)) => Ok(Some(section)),
            Some(_) => Err(MetadataError::Unknown {
                object: self.object.clone(),
                what: field.to_owned(),
            }),
        }
    }

    /// The sections whose names are `name` and a number, in the order of the text.
    pub(super) fn numbered(&mut self, name: &str) -> Result<Vec<Self>, MetadataError> {
        let is_one = |field: &str| {
            let number = field.strip_prefix(name);
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let fields = self.section.entries().map(|(field, _)| field);
        let found: Vec<&str> = fields.filter(|field| is_one(field)).collect();
        let mut sections = Vec::new();
        for field in found {
            let section = self.section(field)?;
            sections.extend(section.map(|section| Self::new(&self.object, section)));
        }
        Ok(sections)
    }

    /// Fields that may be there and do not matter here.
    pub(super) fn skip(&mut self, fields: &[&str]) {
        for field in fields {
            self.get(field);
        }
    }

    /// Whether there is nothing else.
    pub(super) fn end(self) -> Result<(), MetadataError> {
        let mut entries = self.section.entries();
        match entries.find(|(name, _)| !self.read.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(MetadataError::Unknown {
                object: self.object,
                what: name.to_owned(),
            }),
        }
    }
}
