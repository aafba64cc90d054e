package config

import (
	"fmt"
	"strconv"
	"strings"
)

// SnapshotPolicy says when a group's log is cut. The zero value is Never.
type SnapshotPolicy struct {
	// LogsSinceLast is the number of entries after which the log is cut; zero never cuts it.
	LogsSinceLast uint64
}

// UnmarshalText reads LogsSinceLast(N) with N at least 1, or Never.
func (p *SnapshotPolicy) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	if word == "Never" {
		*p = SnapshotPolicy{}
		return nil
	}
	inner, found := strings.CutPrefix(word, "LogsSinceLast(")
	inner, closed := strings.CutSuffix(inner, ")")
	count, err := strconv.ParseUint(strings.TrimSpace(inner), 10, 63)
	if !found || !closed || err != nil || count == 0 {
		return fmt.Errorf("snapshot policy %q: allowed are LogsSinceLast(N) with N from 1, and Never", word)
	}
	*p = SnapshotPolicy{LogsSinceLast: count}
	return nil
}

// MarshalText prints the policy as UnmarshalText reads it.
func (p SnapshotPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String prints the policy as a configuration file spells it.
func (p SnapshotPolicy) String() string {
	if p.LogsSinceLast == 0 {
		return "Never"
	}
	return fmt.Sprintf("LogsSinceLast(%d)", p.LogsSinceLast)
}
