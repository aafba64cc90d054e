package plan

import "github.com/kalamdb/kalamdb-go/internal/datum"

// Flags are what a client is told about a plain column of a table; computed columns have none.
type Flags uint8

// The flags, in the order in which clients list them.
const (
	FlagPrimaryKey Flags = 1 << iota
	FlagNotNull
	FlagUnique
)

// Names lists the set flags as clients spell them: pk, nn, uq. It is nil when there are none.
func (f Flags) Names() []string {
	if f == 0 {
		return nil
	}
	names := make([]string, 0, 3)
	if f&FlagPrimaryKey != 0 {
		names = append(names, "pk")
	}
	if f&FlagNotNull != 0 {
		names = append(names, "nn")
	}
	if f&FlagUnique != 0 {
		names = append(names, "uq")
	}
	return names
}

// Column describes one column of a node's output.
type Column struct {
	Name  string
	Type  datum.Type
	Flags Flags
	// Fields are the names of the fields of composite values; nil for all others.
	Fields []string
}
