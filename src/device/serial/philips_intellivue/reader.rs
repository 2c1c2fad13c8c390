//! Numbers and lists out of big-endian octets. Whatever is too short gives `None`.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A length and so many bytes behind it.
    pub(super) fn sized(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Self)
    }

    /// The count of a list and its elements.
    pub(super) fn list(&mut self) -> Option<(u16, Self)> {
        let count = self.u16()?;
        Some((count, self.sized()?))
    }

    /// Whether no further element of at least so many bytes can stand here: a list whose count says less
    /// than its length is not to be believed.
    pub(super) const fn is_spent(&self, least: usize) -> bool {
        self.0.len() < least
    }

    /// A list of attributes: id and value.
    pub(super) fn attributes(&mut self) -> Option<Vec<(u16, &'a [u8])>> {
        let (count, mut list) = self.list()?;
        let attributes =
            (0..count).map(|_| Some((list.u16()?, list.sized()?.rest()))).collect::<Option<_>>()?;
        list.is_spent(4).then_some(attributes)
    }
}
