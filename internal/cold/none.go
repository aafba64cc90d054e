package cold

import "github.com/kalamdb/kalamdb-go/internal/storage"

// Most scopes have no cold rows, and every statement asks. What was not there is remembered as long as no manifest can have come.

// rareReader is a reader of which the version of the rare keys is known. Those of a batch and of what is durable are none.
type rareReader interface {
	RareVersion() uint64
}

// rareVersion is zero when nothing can be remembered of the reader.
func (s *Store) rareVersion(reader storage.Reader) uint64 {
	if versioned, ok := reader.(rareReader); ok && s != nil {
		return versioned.RareVersion()
	}
	return 0
}

// hasNone reports whether a manifest was not there at the version.
func (s *Store) hasNone(key []byte, version uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.none[string(key)] == version
}

// noteNone remembers that a manifest was not there at the version.
func (s *Store) noteNone(key []byte, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.none) >= maxManifests {
		clear(s.none)
	}
	s.none[string(key)] = version
}
