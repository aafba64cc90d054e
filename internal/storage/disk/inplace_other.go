//go:build !linux || !(amd64 || arm64)

package disk

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func newLocalFile(f vfs.File) vfs.File { return f }

// deadline is a timer of the kernel that ends the process, which only Linux is asked for.
type deadline struct{}

func newDeadline() (deadline, error) { return deadline{}, errors.ErrUnsupported }

func (deadline) set(time.Duration) error { return errors.ErrUnsupported }

func (deadline) stop() {}
