// Package objstore keeps immutable objects under keys: in a directory (Dir) or in a bucket (S3).
//
// It knows nothing of tables, segments or backups; their names are keys that it compares as bytes. An object is a
// run of bytes that is written once as a whole and read in ranges. Both stores pass one suite of tests, package
// objstoretest, which is the long form of the comments on Store.
//
// What always holds: an object is seen whole or not at all, whatever fails while it is written, and an
// acknowledged Put survives a loss of power. A key names nothing outside of its store. Memory of a call is bounded
// whatever the size of the object. A failure that may pass is tried again inside of the call, until its deadline.
package objstore

import (
	"context"
	"errors"
	"io"
	"time"
)

// Failures that a caller can act on; all are wrapped with the key and the operation.
var (
	// ErrNotFound says that there is no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists says that Put with IfNotExists found an object.
	ErrExists = errors.New("object exists")
	// ErrInvalidKey says that a key or prefix breaks the rules of CheckKey.
	ErrInvalidKey = errors.New("invalid object key")
	// ErrDenied says that the store refuses the credentials or what they ask for. Trying again does not help.
	ErrDenied = errors.New("access denied by the object store")
	// ErrUnavailable says that a store did not answer, or only with refusals to be tried again, for as long as
	// the call could wait. The outcome of a Put or Delete is unknown; repeating it is safe.
	ErrUnavailable = errors.New("object store unavailable")
	// ErrTooLarge says that an object is larger than the store can hold in one piece.
	ErrTooLarge = errors.New("object too large")
)

// UnknownSize is the size of a Put whose body is as long as it is.
const UnknownSize = -1

// PutOptions says how an object is written. The zero value replaces what is there.
type PutOptions struct {
	IfNotExists bool // fail with ErrExists instead of replacing an object
}

// ObjectInfo describes one object.
type ObjectInfo struct {
	Key  string
	Size int64
	// ETag is an opaque word that differs between contents of a key: of another length, or written at another
	// time in the resolution of the store.
	ETag     string
	Modified time.Time // zero in the answer of Put when the store does not say
}

// Store is a set of objects. Its methods may be called from many goroutines.
type Store interface {
	// Put writes an object. size is the exact length of body, or UnknownSize. The object is durable when Put
	// returns nil; it is seen whole or not at all. When size is not what body holds, nothing is written and the
	// error is io.ErrUnexpectedEOF for a body that is too short. Of several Puts with IfNotExists at once, exactly one succeeds.
	Put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error)
	// Get reads length bytes from offset on; a negative length means to the end. An object that ends earlier
	// yields what it has, nothing when it ends before offset. ctx governs the reading too. The caller closes.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat describes an object.
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// List calls fn for every object whose key begins with prefix, in the order of the bytes of their keys. It ends with fn's
	// first error. An object that is written or deleted meanwhile may be listed or not.
	List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error
	// Delete removes an object, durably. That there is none is no error.
	Delete(ctx context.Context, key string) error
}

// Sweeper is a store in which interrupted writes leave something behind that nobody sees.
type Sweeper interface {
	// Sweep removes what writes that began before a time left behind, and returns how many there were.
	Sweep(ctx context.Context, before time.Time) (int, error)
}
