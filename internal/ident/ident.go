// Package ident declares the identifiers of the system, one type each, so that no two can be swapped.
//
// It holds no behaviour beyond parsing and printing. Every other package may import it; it imports only
// the standard library.
//
// The zero value of every identifier names nothing.
package ident

import (
	"encoding/hex"
	"fmt"
)

// NodeID is the operator's number for one server, from configuration (`cluster.node_id`), at least 1.
// A node keeps its NodeID when its disk is replaced; its ReplicaID changes.
type NodeID uint64

// ReplicaID is the Raft id of one data directory in every group. The meta group hands them out, never
// twice: a node that comes back with an empty disk gets a new one and cannot vote in the old one's name.
// Zero is no replica.
type ReplicaID uint64

// StoreID is the random identity of one data directory, drawn when the directory is created.
type StoreID [16]byte

// ClusterUID is the random identity of one cluster, drawn when it is founded. Two clusters that share a
// configured name still differ here.
type ClusterUID [16]byte

// RequestID identifies one logical request for ever; a retry carries the same id and is answered with
// the first result.
type RequestID [16]byte

// UserID names a user; it is the login name and the scope of that user's private rows.
type UserID string

// TableID numbers a table. Ids come from the meta log position of CREATE TABLE and are never reused; those of tables that a
// cluster is founded with are reserved.
type TableID uint64

// firstReservedTable is beyond every log position, and a number that JSON keeps.
const firstReservedTable TableID = 1 << 48

// ReservedTable returns the id of the table at a place in the list of those that a cluster is founded with.
func ReservedTable(place int) TableID {
	return firstReservedTable + TableID(place) + 1 //nolint:gosec // a place in a short list
}

// Reserved reports whether a table came with its cluster: every cluster has its own under the same id.
func (t TableID) Reserved() bool { return t >= firstReservedTable }

// String prints the id in lower-case hexadecimal.
func (s StoreID) String() string { return hex.EncodeToString(s[:]) }

// IsZero reports whether no id has been drawn.
func (s StoreID) IsZero() bool { return s == StoreID{} }

// String prints the id in lower-case hexadecimal.
func (c ClusterUID) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether no id has been drawn.
func (c ClusterUID) IsZero() bool { return c == ClusterUID{} }

// String prints the id in lower-case hexadecimal.
func (r RequestID) String() string { return hex.EncodeToString(r[:]) }

// IsZero reports whether the request has no id.
func (r RequestID) IsZero() bool { return r == RequestID{} }

// ParseID16 decodes 32 hexadecimal digits; it serves StoreID, ClusterUID and RequestID alike.
func ParseID16(text string) ([16]byte, error) {
	var id [16]byte
	raw, err := hex.DecodeString(text)
	if err != nil {
		return id, fmt.Errorf("identifier %q: %w", text, err)
	}
	if len(raw) != len(id) {
		return id, fmt.Errorf("identifier %q: want 32 hexadecimal digits, got %d", text, len(text))
	}
	copy(id[:], raw)
	return id, nil
}
