//! Which devices share the work, as an operator writes it.

use std::str::FromStr;

/// Numbers of devices as the driver counts them, from 0; the first one when there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceList(pub Vec<usize>);

impl FromStr for DeviceList {
    type Err = String;

    /// Numbers with commas between, each once.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut devices = Vec::new();
        for part in text.split(',') {
            let number = part.trim();
            let device = number.parse::<usize>().map_err(|_| {
                format!("'{number}' is no number of a GPU: give numbers with commas between, such as 0,1")
            })?;
            if devices.contains(&device) {
                return Err(format!("GPU {device} is named twice"));
            }
            devices.push(device);
        }
        Ok(Self(devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_what_is_none_is_an_error() {
        assert_eq!("2".parse(), Ok(DeviceList(vec![2])));
        assert_eq!("1, 0 ,3".parse(), Ok(DeviceList(vec![1, 0, 3])));
        assert_eq!(
            "0,1,0".parse::<DeviceList>(),
            Err("GPU 0 is named twice".to_owned())
        );
        for (text, part) in [("", ""), ("0,", ""), ("-1", "-1"), ("all", "all")] {
            let error = text.parse::<DeviceList>().unwrap_err();
            assert!(
                error.starts_with(&format!("'{part}' is no number of a GPU")),
                "{error}"
            );
        }
    }
}
