package storage

// Later collects writes that go into a batch behind others, in the order in which they were collected. The memtable finds the place
// of a key at once when the key before it in the batch is its neighbour, and looks for it from the top when not: kinds of keys that
// ascend are cheap as long as nothing comes between them. A batch does not show what is collected before Into.
type Later struct {
	data []byte
	ends []int // of key, value, key, value, …
}

// keepLaterBytes is up to how much memory is used again.
const keepLaterBytes = 1 << 20

// Set collects a write; key and value are copied.
func (l *Later) Set(key, value []byte) {
	l.data = append(l.data, key...)
	from := len(l.data)
	l.data = append(l.data, value...)
	l.ends = append(l.ends, from, len(l.data))
}

// Len is the number of writes that are collected.
func (l *Later) Len() int { return len(l.ends) / 2 }

// Into writes what was collected and forgets it.
func (l *Later) Into(batch *Batch) error {
	from := 0
	for i := 0; i < len(l.ends); i += 2 {
		if err := batch.Set(l.data[from:l.ends[i]], l.data[l.ends[i]:l.ends[i+1]]); err != nil {
			return err
		}
		from = l.ends[i+1]
	}
	l.Drop()
	return nil
}

// Drop forgets what was collected.
func (l *Later) Drop() {
	l.data, l.ends = l.data[:0], l.ends[:0]
	if cap(l.data) > keepLaterBytes {
		l.data, l.ends = nil, nil
	}
}
