//! Random metadata as lvm writes it, for `vgcfgrestore`: without device-mapper lvm makes no
//! pools, snapshots or RAID itself.

use crate::random::Random;

/// `base`, the text of a VG without volumes, with random volumes. `disks` are the PVs' extents.
pub fn with_volumes(random: &mut Random, base: &str, disks: &[u64]) -> String {
    let mut draft = Draft {
        random,
        text: String::new(),
        next: vec![0; disks.len()],
        disks,
        names: 0,
    };
    for _ in 0..=draft.random.below(6) {
        match draft.random.below(64) {
            0..=17 => drop(draft.linear("")),
            18..=26 => draft.striped(),
            27..=30 => draft.nothing(),
            31..=52 => draft.pool(),
            53..=62 => draft.thick_snapshot(),
            _ => draft.raid(),
        }
    }
    let end = base.rfind('}').expect("the end of the VG");
    format!(
        "{}\nlogical_volumes {{\n{}}}\n}}\n",
        &base[..end],
        draft.text
    )
}

struct Draft<'a> {
    random: &'a mut Random,
    text: String,
    /// The first extent of each PV that nobody has.
    next: Vec<u64>,
    disks: &'a [u64],
    names: u32,
}

impl Draft<'_> {
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        *self.random.pick(all).unwrap()
    }

    fn name(&mut self) -> String {
        self.names += 1;
        let ending = self.one_of(&["", "-x", "_y", ".z", "+1"]);
        format!("v{}{ending}", self.names)
    }

    fn tags(&mut self) -> String {
        let tags = ["\"b=1\"", "\"a\"", "\"topolvm/x\"", "\"z.z\"", "\"A+\""];
        let first = self.random.below(5);
        let tags: Vec<_> = (first..first + self.random.below(4))
            .map(|n| tags[usize::try_from(n % 5).unwrap()])
            .collect();
        format!("tags=[{}]", tags.join(","))
    }

    /// Space on one PV, after a random gap.
    fn space(&mut self, extents: u64) -> Option<(usize, u64)> {
        let disk = usize::try_from(self.random.below(self.disks.len() as u64)).unwrap();
        let start = self.next[disk] + self.random.below(3);
        let end = start + extents;
        if end > self.disks[disk] {
            return None;
        }
        self.next[disk] = end;
        Some((disk, start))
    }

    fn add(&mut self, name: &str, status: &str, more: &str, segments: &[(u64, String)]) {
        let mut digits = |n: u32| {
            let all = self.random.below(10u64.pow(n));
            format!("{all:0width$}", width = n as usize)
        };
        let id = [6, 4, 4, 4, 4, 4, 6].map(&mut digits).join("-");
        let (mut start, mut body) = (0, String::new());
        for (n, (extents, segment)) in segments.iter().enumerate() {
            body += &format!(
                "segment{} {{ start_extent={start} extent_count={extents} {segment} }}\n",
                n + 1
            );
            start += extents;
        }
        let count = segments.len();
        self.text += &format!(
            "{name} {{ id=\"{id}\" status=[{status}] {more} segment_count={count}\n{body}}}\n"
        );
    }

    fn places(&mut self, stripes: usize, each: u64) -> Option<String> {
        let places: Option<Vec<_>> = (0..stripes).map(|_| self.space(each)).collect();
        let places: Vec<_> = places?
            .iter()
            .map(|(disk, start)| format!("\"pv{disk}\",{start}"))
            .collect();
        let size = if stripes > 1 { "stripe_size=128" } else { "" };
        let places = places.join(",");
        Some(format!(
            "type=\"striped\" stripe_count={stripes} {size} stripes=[{places}]"
        ))
    }

    /// A hidden or visible volume of a given name and size; its name, if there was space.
    fn plain(&mut self, name: &str, status: &str, extents: u64) -> Option<String> {
        let place = self.places(1, extents)?;
        self.add(name, status, "flags=[]", &[(extents, place)]);
        Some(name.to_owned())
    }

    fn linear(&mut self, ending: &str) -> Option<(String, u64)> {
        let name = self.name() + ending;
        let (mut segments, mut extents) = (Vec::new(), 0);
        for _ in 0..=self.random.below(3) {
            let length = 1 + self.random.below(5);
            if let Some(place) = self.places(1, length) {
                segments.push((length, place));
                extents += length;
            }
        }
        if segments.is_empty() {
            return None;
        }
        let status = self.one_of(&[
            r#""READ","WRITE","VISIBLE""#,
            r#""READ","WRITE","VISIBLE""#,
            r#""READ","VISIBLE""#,
        ]);
        let allocation = self.one_of(&[
            "",
            "allocation_policy=\"contiguous\"",
            "allocation_policy=\"cling\"",
            "allocation_policy=\"anywhere\"",
        ]);
        let more = format!("flags=[] {} {allocation}", self.tags());
        self.add(&name, status, &more, &segments);
        Some((name, extents))
    }

    fn striped(&mut self) {
        let (name, stripes, each) = (self.name(), 2 + self.random.below(2), 1);
        let each = each + self.random.below(3);
        if let Some(place) = self.places(usize::try_from(stripes).unwrap(), each) {
            let more = format!("flags=[] {}", self.tags());
            let visible = r#""READ","WRITE","VISIBLE""#;
            self.add(&name, visible, &more, &[(each * stripes, place)]);
        }
    }

    fn nothing(&mut self) {
        let name = self.name();
        let kind = self.one_of(&["error", "zero"]);
        let segment = format!("type=\"{kind}\"");
        let extents = 1 + self.random.below(9);
        let visible = r#""READ","WRITE","VISIBLE""#;
        self.add(&name, visible, "flags=[]", &[(extents, segment)]);
    }

    /// A pool, its parts, and volumes in it: some snapshots of each other, one on an origin
    /// outside.
    fn pool(&mut self) {
        let name = self.name();
        let (data, hidden) = (2 + self.random.below(6), r#""READ","WRITE""#);
        let (Some(meta_lv), Some(data_lv)) = (
            self.plain(&format!("{name}_tmeta"), hidden, 1),
            self.plain(&format!("{name}_tdata"), hidden, data),
        ) else {
            return;
        };
        let volumes = self.random.below(5);
        let next = volumes + self.random.below(3);
        let settings = [
            self.one_of(&[
                "",
                "discards=\"passdown\"",
                "discards=\"nopassdown\"",
                "discards=\"ignore\"",
            ]),
            self.one_of(&["", "zero_new_blocks=1", "zero_new_blocks=0"]),
            self.one_of(&["chunk_size=128", "chunk_size=256", "chunk_size=1024"]),
        ]
        .join(" ");
        // What a command that was cut off noted down for the pool.
        let message = self.one_of(&[
            "",
            "",
            "",
            "message1 { delete=1 }",
            "message7 { delete=70000 }",
        ]);
        let pool = format!(
            "type=\"thin-pool\" metadata=\"{meta_lv}\" pool=\"{data_lv}\" transaction_id={next} {settings} {message}"
        );
        let flags = self.one_of(&["flags=[]", "flags=[]", "flags=[\"ERROR_WHEN_FULL\"]"]);
        let visible = r#""READ","WRITE","VISIBLE""#;
        self.add(&name, visible, flags, &[(data, pool)]);
        let external = (self.random.below(3) == 0).then(|| {
            let name = self.name();
            self.plain(&name, r#""READ","VISIBLE""#, 3)
        });
        let (mut older, mut external) = (Vec::<String>::new(), external.flatten());
        for device in 0..volumes {
            let (volume, extents) = (self.name(), 1 + self.random.below(900));
            let mut segment = format!(
                "type=\"thin\" thin_pool=\"{name}\" transaction_id={device} device_id={} ",
                device + 1
            );
            if let Some(external) = external.take() {
                segment += &format!("external_origin=\"{external}\"");
            } else if self.random.below(2) == 0
                && let Some(origin) = self.random.pick(&older)
            {
                segment += &format!("origin=\"{origin}\"");
            }
            let flags = self.one_of(&["flags=[]", "flags=[\"ACTIVATION_SKIP\"]"]);
            let status = self.one_of(&[visible, visible, r#""READ","VISIBLE""#]);
            let more = format!("{flags} {}", self.tags());
            self.add(&volume, status, &more, &[(extents, segment)]);
            older.push(volume);
        }
    }

    fn thick_snapshot(&mut self) {
        let Some((origin, extents)) = self.linear("") else {
            return;
        };
        let visible = r#""READ","WRITE","VISIBLE""#;
        for _ in 0..=self.random.below(2) {
            let (store, room) = (self.name(), 1 + self.random.below(3));
            let Some(store) = self.plain(&store, visible, room) else {
                return;
            };
            self.names += 1;
            let name = format!("snapshot{}", self.names);
            let segment =
                format!("type=\"snapshot\" chunk_size=8 origin=\"{origin}\" cow_store=\"{store}\"");
            self.add(&name, visible, "flags=[]", &[(extents, segment)]);
        }
    }

    fn raid(&mut self) {
        let (name, extents) = (self.name(), 1 + self.random.below(3));
        let mut parts = Vec::new();
        for leg in 0..2 {
            for (part, extents) in [("rmeta", 1), ("rimage", extents)] {
                let part = format!("{name}_{part}_{leg}");
                match self.plain(&part, r#""READ","WRITE""#, extents) {
                    Some(part) => parts.push(format!("\"{part}\"")),
                    // lvm refuses the text, which is one more case.
                    None => return,
                }
            }
        }
        let segment = format!(
            "type=\"raid1\" device_count=2 region_size=4096 raids=[{}]",
            parts.join(",")
        );
        let visible = r#""READ","WRITE","VISIBLE""#;
        self.add(&name, visible, "flags=[]", &[(extents, segment)]);
    }
}
