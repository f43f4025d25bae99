//! How much fits, counted in extents as LVM counts. Pure.
//!
//! What is refused here is what LVM would refuse, and what it is told to keep: the
//! class's spare space, its overprovision ratio, and the raw space that stripes, RAID
//! copies and RAID metadata cost on top of what the user sees.

use crate::config::{DeviceClass, Kind, LvcreateOptions};
use crate::lvm::model::Vg;
use crate::units::Bytes;

/// How a volume lies on its disks, as far as its cost goes (lvmraid(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Over how many images the data is spread; sizes are rounded up to a multiple.
    pub stripes: u64,
    /// How many images hold each extent, for mirrors; 1 for none.
    pub copies: u64,
    /// Images for parity.
    pub parity: u64,
    /// Extents of metadata for each image (0 without RAID, else 1), and one log for `mirror`.
    pub metadata: u64,
}

impl Layout {
    /// One copy on one disk.
    pub const LINEAR: Self = Self {
        stripes: 1,
        copies: 1,
        parity: 0,
        metadata: 0,
    };

    /// The layout lvcreate makes of these options and the class's `stripe`, where that is
    /// given to it. lvcreate's defaults where one is not: 2 stripes (RAID 6: 3), 1 mirror.
    pub fn of(stripe: Option<u32>, options: &LvcreateOptions) -> Self {
        let number = |name: &str| options.value(name).and_then(|v| v.parse::<u64>().ok());
        let stripes = number("stripes")
            .or(stripe.map(u64::from))
            .filter(|n| *n > 0);
        let mirrors = number("mirrors");
        let kind = options.value("type").unwrap_or(match (mirrors, stripes) {
            (Some(1..), Some(2..)) => "raid10",
            (Some(1..), _) => "raid1",
            _ => "striped",
        });
        let copies = mirrors.unwrap_or(1) + 1;
        match kind {
            "raid1" => Self {
                stripes: 1,
                copies,
                parity: 0,
                metadata: copies,
            },
            "mirror" => Self {
                stripes: stripes.unwrap_or(1),
                copies,
                parity: 0,
                metadata: 1,
            },
            k if k.starts_with("raid10") => {
                let stripes = stripes.unwrap_or(2);
                Self {
                    stripes,
                    copies,
                    parity: 0,
                    metadata: stripes * copies,
                }
            }
            k if k.starts_with("raid6") => Self::parity(stripes.unwrap_or(3), 2),
            k if k.starts_with("raid5") || k == "raid4" => Self::parity(stripes.unwrap_or(2), 1),
            "raid0_meta" => Self {
                metadata: stripes.unwrap_or(2),
                stripes: stripes.unwrap_or(2),
                ..Self::LINEAR
            },
            "raid0" => Self {
                stripes: stripes.unwrap_or(2),
                ..Self::LINEAR
            },
            _ => Self {
                stripes: stripes.unwrap_or(1),
                ..Self::LINEAR
            },
        }
    }

    fn parity(stripes: u64, parity: u64) -> Self {
        Self {
            stripes,
            copies: 1,
            parity,
            metadata: stripes + parity,
        }
    }

    /// How many PVs a volume is spread over at the least: no two images share one.
    pub fn images(self) -> u64 {
        self.stripes
            .saturating_mul(self.copies)
            .saturating_add(self.parity)
    }

    /// The size LVM gives for a request of `extents`: a multiple of the stripes.
    pub fn visible(self, extents: u64) -> u64 {
        extents
            .checked_next_multiple_of(self.stripes.max(1))
            .unwrap_or(u64::MAX)
    }

    /// The extents a volume of `extents` takes from the VG.
    pub fn raw(self, extents: u64) -> u64 {
        let visible = self.visible(extents);
        let parity = visible / self.stripes.max(1) * self.parity;
        visible
            .saturating_mul(self.copies)
            .saturating_add(parity)
            .saturating_add(self.metadata)
    }

    /// The largest volume, in extents, that takes no more than `raw` extents.
    pub fn usable(self, raw: u64) -> u64 {
        let (mut low, mut high) = (0, raw);
        while low < high {
            let middle = high - (high - low) / 2;
            if self.raw(middle) <= raw {
                low = middle
            } else {
                high = middle - 1
            }
        }
        // A size that is no multiple of the stripes would be rounded up.
        low - low % self.stripes.max(1)
    }
}

/// Free raw extents of a thick class after its spare space.
pub fn thick_free_extents(vg: &Vg, class: &DeviceClass) -> u64 {
    vg.free_count
        .saturating_sub(class.spare.extents(vg.extent_size))
}

/// Virtual bytes a thin class may still promise, after its spare space. Zero when the
/// pool is missing.
pub fn thin_free(vg: &Vg, class: &DeviceClass) -> Bytes {
    let Some(pool) = class.pool().and_then(|name| vg.pool(name)) else {
        return Bytes(0);
    };
    Bytes(
        promised(class, pool.size)
            .0
            .saturating_sub(vg.virtual_bytes(&pool.name).0)
            .saturating_sub(class.spare.0),
    )
}

/// The pool's size times the overprovision ratio, rounded down.
pub fn promised(class: &DeviceClass, pool_size: Bytes) -> Bytes {
    let Kind::Thin {
        overprovision_ratio,
        ..
    } = class.kind
    else {
        return Bytes(0);
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a positive float to u64 saturates; 53 bits are exact to 8 PiB"
    )]
    let bytes = (overprovision_ratio * pool_size.0 as f64).floor() as u64;
    Bytes(bytes)
}

/// What the class can still give, in bytes a user can ask for in one volume.
pub fn free(vg: &Vg, class: &DeviceClass) -> Bytes {
    match class.kind {
        Kind::Thin { .. } => thin_free(vg, class),
        Kind::Thick => {
            let layout = Layout::of(class.stripe, &class.lvcreate_options);
            Bytes(
                layout
                    .usable(thick_free_extents(vg, class))
                    .saturating_mul(vg.extent_size.0),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::lvm::report;
    use crate::units::MIB;
    use proptest::prelude::{prop_assert, proptest};

    fn class(extra: &str) -> DeviceClass {
        let text = format!("device-classes:\n- name: a\n  volume-group: vg\n{extra}");
        let config = Config::parse(&text, std::path::Path::new("test")).unwrap();
        config.classes.members().next().unwrap().as_ref().clone()
    }

    fn layout(extra: &str) -> Layout {
        let class = class(extra);
        Layout::of(class.stripe, &class.lvcreate_options)
    }

    #[test]
    fn raid_and_stripes_cost_what_lvm_takes() {
        // (options, visible extents asked for, extents LVM takes): from `vgs` before and after.
        for (extra, asked, taken) in [
            ("", 3, 3),
            ("  stripe: 2\n", 3, 4),
            ("  lvcreate-options: [--type=raid1]\n", 3, 8),
            ("  lvcreate-options: [-m2]\n", 3, 12),
            ("  lvcreate-options: [--type=raid5, -i2]\n", 4, 9),
            ("  lvcreate-options: [--type=raid6, -i3]\n", 3, 10),
            ("  lvcreate-options: [--type=raid10, -i2, -m1]\n", 3, 12),
        ] {
            assert_eq!(layout(extra).raw(asked), taken, "{extra}");
        }
    }

    #[test]
    fn spare_space_is_not_given_away() {
        let vg = &report::parse(include_bytes!(
            "../tests/fixtures/fullreport-lvm2-2.03.31.json"
        ))
        .unwrap()[0];
        assert_eq!(free(vg, &class("  spare-gb: 0\n")), Bytes(92 * 4 * MIB));
        assert_eq!(free(vg, &class("  spare-gb: 1\n")), Bytes(0));
        let thin = class(
            "  type: thin\n  spare-gb: 0\n  thin-pool: {name: pool, overprovision-ratio: 2.5}\n",
        );
        assert_eq!(free(vg, &thin), Bytes(200 * MIB - 64 * MIB));
        assert_eq!(
            free(
                vg,
                &class("  spare-gb: 0\n  lvcreate-options: [--type=raid1]\n")
            ),
            Bytes(45 * 4 * MIB)
        );
    }

    proptest! {
        #[test]
        fn what_is_usable_fits_and_one_more_stripe_does_not(stripes in 1u64..9, copies in 1u64..4, parity in 0u64..3, raw in 0u64..100_000) {
            let layout = Layout { stripes, copies, parity, metadata: 2 };
            let usable = layout.usable(raw);
            prop_assert!(usable == 0 || layout.raw(usable) <= raw);
            prop_assert!(layout.raw(usable + stripes) > raw);
        }
    }
}
