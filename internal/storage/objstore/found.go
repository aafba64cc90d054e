package objstore

import (
	"errors"
	"io/fs"
	"syscall"
)

// found turns what a file system says about a missing file into ErrNotFound: also that a part of its path is a
// file itself.
func found(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ErrNotFound
	}
	return err
}
