//! A range of Talos versions: `>= v1.12.0 < v1.15.0`, parts joined by `||`.
//!
//! Talos reads it with blang/semver, a `v` before a digit left out, and compares without what follows a `-`. Versions
//! have three numbers. `1.13.x` is understood there and not here.

/// Major, minor, patch.
pub type Version = [u64; 3];

/// Why a range is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRange {
    /// Talos cannot read it either.
    Malformed,
    /// Talos reads it; here it has to be written in full.
    Wildcard,
}

/// A version with three numbers, as `v1.13.9`; what follows a `-` does not count.
#[must_use]
pub fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u64> = core
        .split('.')
        .map(|number| {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            let zero = number.len() > 1 && number.starts_with('0');
            number.parse().ok().filter(|_| digits && !zero)
        })
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Whether `range` holds `version`.
///
/// # Errors
/// It is no range.
pub fn holds(range: &str, version: Version) -> Result<bool, NoRange> {
    let mut any = false;
    for part in range.split("||") {
        any |= all(part, version)?;
    }
    Ok(any)
}

fn all(part: &str, wanted: Version) -> Result<bool, NoRange> {
    // An operator may stand apart from its version.
    let mut words: Vec<String> = Vec::new();
    for word in part.split_whitespace() {
        match words.last_mut() {
            Some(last) if last.chars().all(|c| "<>=!".contains(c)) => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    if words.is_empty() {
        return Err(NoRange::Malformed);
    }
    let mut holds = true;
    for word in words {
        let number = word.trim_start_matches(['<', '>', '=', '!']);
        let operator = &word[..word.len() - number.len()];
        let Some(version) = version(number) else {
            let wild = number.split('.').skip(1).any(|part| part == "x");
            return Err(if wild {
                NoRange::Wildcard
            } else {
                NoRange::Malformed
            });
        };
        holds &= match operator {
            "" | "=" | "==" => wanted == version,
            "!" | "!=" => wanted != version,
            ">" => wanted > version,
            ">=" => wanted >= version,
            "<" => wanted < version,
            "<=" => wanted <= version,
            _ => return Err(NoRange::Malformed),
        };
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        for (range, expected) in [
            (">= v1.12.0 < v1.15.0", Ok(true)),
            (">= v1.14.0", Ok(false)),
            ("<v1.13.0 || >=v1.13.5", Ok(true)),
            ("=v1.13.9", Ok(true)),
            ("!=1.13.9", Ok(false)),
            (">= v1.13.9-alpha.0", Ok(true)),
            ("1.13.x", Err(NoRange::Wildcard)),
            ("^1.12.0", Err(NoRange::Malformed)),
            ("~1.12", Err(NoRange::Malformed)),
            (">= 1.13", Err(NoRange::Malformed)),
            (">= v1.12.0, < v1.15.0", Err(NoRange::Malformed)),
            (">= v1.12.0 ||", Err(NoRange::Malformed)),
            ("", Err(NoRange::Malformed)),
        ] {
            assert_eq!(holds(range, [1, 13, 9]), expected, "{range}");
        }
    }
}
