//! The part of LVM's text metadata that says whose a volume group is (lvm.conf(5) describes the syntax: sections in
//! braces, `name = value`, strings, numbers and lists; `#` begins a comment).

/// Deepest nesting accepted; LVM writes four levels.
const MAX_DEPTH: usize = 16;

/// A volume group as one of its copies describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VgText {
    /// Name. A name is no identity: any disk may carry any.
    pub name: String,
    /// UUID, in LVM's form 6-4-4-4-4-4-6.
    pub uuid: String,
    /// Version of the description; grows by one with each commit.
    pub seqno: u64,
    /// Status words, such as RESIZEABLE, READ, WRITE, EXPORTED, CLUSTERED.
    pub status: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// System ID of the only host that may use it, when there is one.
    pub system_id: Option<String>,
    /// Lock type of a shared group (`none`, `dlm`, `sanlock`, ...), when there is one.
    pub lock_type: Option<String>,
    /// Member physical volumes, in the order of the text.
    pub pvs: Vec<PvText>,
    /// Names of the logical volumes, hidden ones included, in the order of the text.
    pub lvs: Vec<String>,
}

/// A member of a volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PvText {
    /// UUID of the physical volume.
    pub uuid: String,
    /// Status words, such as ALLOCATABLE.
    pub status: Vec<String>,
    /// Flags, such as MISSING.
    pub flags: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// Reads a description. `None` when it is not one: syntax, no group, or no `id` and `seqno` in it.
pub(super) fn parse(text: &str) -> Option<VgText> {
    let mut reader = Reader { rest: text };
    let root = reader.section(0)?;
    let (name, vg) = root
        .iter()
        .find_map(|(name, node)| Some((name, node.as_section()?)))?;
    Some(VgText {
        name: name.clone(),
        uuid: string(vg, "id")?,
        seqno: number(vg, "seqno")?,
        status: strings(vg, "status")?,
        tags: strings(vg, "tags")?,
        system_id: string(vg, "system_id").filter(|id| !id.is_empty()),
        lock_type: string(vg, "lock_type"),
        pvs: sections(vg, "physical_volumes")?
            .into_iter()
            .map(|(_, pv)| member(pv))
            .collect::<Option<_>>()?,
        lvs: sections(vg, "logical_volumes")?
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect(),
    })
}

fn member(pv: &Section) -> Option<PvText> {
    Some(PvText {
        uuid: string(pv, "id")?,
        status: strings(pv, "status")?,
        flags: strings(pv, "flags")?,
        tags: strings(pv, "tags")?,
    })
}

type Section = Vec<(String, Node)>;

#[derive(Debug)]
enum Node {
    Section(Section),
    String(String),
    Number(String),
    List(Vec<Node>),
}

impl Node {
    fn as_section(&self) -> Option<&Section> {
        match self {
            Self::Section(section) => Some(section),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            _ => None,
        }
    }
}

fn get<'a>(section: &'a Section, key: &str) -> Option<&'a Node> {
    section
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, node)| node)
}

fn string(section: &Section, key: &str) -> Option<String> {
    get(section, key)?.as_string()
}

fn number(section: &Section, key: &str) -> Option<u64> {
    match get(section, key)? {
        Node::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// A list of strings, or a single string; absent is empty, anything else is no description.
fn strings(section: &Section, key: &str) -> Option<Vec<String>> {
    match get(section, key) {
        None => Some(Vec::new()),
        Some(Node::List(items)) => items.iter().map(Node::as_string).collect(),
        Some(node) => Some(vec![node.as_string()?]),
    }
}

/// The sections inside a section; absent is empty, an entry that is none is no description.
fn sections<'a>(section: &'a Section, key: &str) -> Option<Vec<(&'a str, &'a Section)>> {
    match get(section, key) {
        None => Some(Vec::new()),
        Some(node) => node
            .as_section()?
            .iter()
            .map(|(name, node)| Some((name.as_str(), node.as_section()?)))
            .collect(),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Skips blanks and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, next)| next),
                None => return,
            }
        }
    }

    fn eat(&mut self, mark: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Entries up to the closing brace, or to the end of the text at depth 0.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let mut entries = Vec::new();
        loop {
            if depth > 0 && self.eat('}') {
                return Some(entries);
            }
            self.skip();
            if self.rest.is_empty() {
                return (depth == 0).then_some(entries);
            }
            let key = self.word()?;
            let node = if self.eat('{') {
                Node::Section(self.section((depth < MAX_DEPTH).then_some(depth + 1)?)?)
            } else if self.eat('=') {
                self.value(depth)?
            } else {
                return None;
            };
            entries.push((key, node));
        }
    }

    /// A name or a number. LVM's names are letters, digits and `+_.-` (vgcreate(8)).
    fn word(&mut self) -> Option<String> {
        self.skip();
        let word = |c: char| c.is_ascii_alphanumeric() || "+_.-/".contains(c);
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        let (found, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!found.is_empty()).then(|| found.to_owned())
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if self.eat('"') {
            return self.quoted().map(Node::String);
        }
        if !self.eat('[') {
            return self.word().map(Node::Number);
        }
        let mut items = Vec::new();
        while !self.eat(']') {
            if depth >= MAX_DEPTH {
                return None;
            }
            items.push(self.value(depth + 1)?);
            self.eat(',');
        }
        Some(Node::List(items))
    }

    /// The rest of a string; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}
