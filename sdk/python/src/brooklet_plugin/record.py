"""Records as authors see them, over the columns of a batch."""

COLUMNS = ("keys", "values", "headers", "timestamps")


class Column:
    """A column as it was received: all bytes back to back, and where each entry ends."""

    __slots__ = ("data", "ends", "nulls")

    def __init__(self, blobs):
        self.data = blobs.data
        self.ends = blobs.ends
        self.nulls = frozenset(blobs.nulls or ())

    def get(self, index: int) -> bytes | None:
        end = self.ends[index]
        start = self.ends[index - 1] if index else 0
        # A null has no bytes: only the empty are looked up.
        if start == end and index in self.nulls:
            return None
        return self.data[start:end]


class Batch:
    """Records of one partition."""

    __slots__ = ("asked", "header_starts", "input", "keys", "names", "values", "header_values")

    def __init__(self, input, asked: tuple[str, ...]):
        self.input = input
        self.asked = asked
        self.keys = None if input.keys is None else Column(input.keys)
        self.values = None if input.values is None else Column(input.values)
        self.names = self.header_values = self.header_starts = None
        if input.headers is not None:
            self.names = Column(input.headers.names)
            self.header_values = Column(input.headers.values)
            self.header_starts = starts = [0]
            for count in input.headers.counts:
                starts.append(starts[-1] + count)

    def records(self):
        return [Record(self, index) for index in range(self.input.count)]


def _missing(column: str):
    raise TypeError(f"the plugin looks at {column} without having asked for that column")


class Record:
    """One record."""

    __slots__ = ("_batch", "index")

    def __init__(self, batch: Batch, index: int):
        self._batch = batch
        self.index = index

    @property
    def topic(self) -> str:
        """Its topic."""
        return self._batch.input.topic

    @property
    def partition(self) -> int | None:
        """Its partition, None where it has none yet."""
        partition = self._batch.input.partition
        return None if partition < 0 else partition

    @property
    def key(self) -> bytes | None:
        """Its key."""
        return (self._batch.keys or _missing("keys")).get(self.index)

    @property
    def value(self) -> bytes | None:
        """Its value; None is a tombstone."""
        return (self._batch.values or _missing("values")).get(self.index)

    @property
    def offset(self) -> int:
        """Its offset."""
        deltas = self._batch.input.offset_deltas
        return self._batch.input.base_offset + (self.index if deltas is None else deltas[self.index])

    @property
    def timestamp(self) -> int:
        """Its time, milliseconds since the epoch, UTC."""
        if "timestamps" not in self._batch.asked:
            _missing("timestamps")
        deltas = self._batch.input.timestamp_deltas
        return self._batch.input.base_timestamp + (0 if deltas is None else deltas[self.index])

    @property
    def headers(self) -> list[tuple[bytes, bytes | None]]:
        """Its headers in their order: names, and values that may be None."""
        batch = self._batch
        starts = batch.header_starts or _missing("headers")
        indexes = range(starts[self.index], starts[self.index + 1])
        return [(batch.names.get(i) or b"", batch.header_values.get(i)) for i in indexes]

    def header(self, name: str) -> bytes | None:
        """The last header of that name, as Kafka's `lastHeader` has it; None if there is none or it is null."""
        wanted = name.encode()
        for found, value in reversed(self.headers):
            if found == wanted:
                return value
        return None
