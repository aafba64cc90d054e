package command

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// The logs of node-local groups begin at indexes that are far apart, so that a _seq tells which data directory gave it. Nothing
// is lost when a cursor is taken to another node, because it is seen to be none of that node's.
const (
	originBits = 36 // of an index are the node's own: 6.8e10 commands
	maxOrigin  = 1<<(47-originBits) - 1
)

// LocalStart is the index before the first command of the node-local group of a data directory. A cluster that has seen more
// than 2,047 data directories has no room for the next one's.
func LocalStart(replica ident.ReplicaID) (uint64, error) {
	if replica == 0 || replica > maxOrigin {
		return 0, fmt.Errorf("replica %d has no room for node-local rows: only the first %d of a cluster have", replica, maxOrigin)
	}
	return uint64(replica) << originBits, nil
}

// SameOrigin reports whether two indexes of node-local groups are of the same data directory.
func SameOrigin(a, b uint64) bool { return a>>originBits == b>>originBits }
