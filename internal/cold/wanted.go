package cold

import "fmt"

// maxWanted bounds the files that are noted between two looks of a Sweeper; beyond it no more are kept.
const maxWanted = 100_000

// want makes the grace of a file begin anew.
func (s *Store) want(p place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wanted) >= maxWanted {
		return fmt.Errorf("%d files were kept since the last sweep, no more are; try again after the next", len(s.wanted))
	}
	s.wanted[p] = struct{}{}
	return nil
}

// isWanted reports whether a file was wanted since the last look.
func (s *Store) isWanted(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.wanted[p]
	return ok
}

// takeWanted returns the files that were wanted since it was last called.
func (s *Store) takeWanted() map[place]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.wanted
	s.wanted = map[place]struct{}{}
	return taken
}
