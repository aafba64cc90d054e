package objstore

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of keys: those of S3 and of file systems.
const (
	MaxKeyBytes     = 1024
	MaxSegmentBytes = 255
)

// CheckKey refuses keys that not every store can hold under exactly that name: a key is UTF-8 of at most MaxKeyBytes, segments between
// slashes, each of 1 to MaxSegmentBytes bytes, none of which begins with a dot, holds a backslash or a control character. No
// key may be a directory of another: with "a" there is no "a/b". A store need not notice.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	}
	if len(key) > MaxKeyBytes {
		return fmt.Errorf("%w: %q… has %d bytes, %d are allowed", ErrInvalidKey, key[:64], len(key), MaxKeyBytes)
	}
	if !utf8.ValidString(key) {
		return fmt.Errorf("%w: %q is not UTF-8", ErrInvalidKey, key)
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return fmt.Errorf("%w: %q has an empty segment", ErrInvalidKey, key)
		case len(segment) > MaxSegmentBytes:
			return fmt.Errorf("%w: a segment of %q has %d bytes, %d are allowed", ErrInvalidKey, key, len(segment), MaxSegmentBytes)
		case segment[0] == '.':
			return fmt.Errorf("%w: a segment of %q begins with a dot", ErrInvalidKey, key)
		}
	}
	if at := strings.IndexFunc(key, forbidden); at >= 0 {
		return fmt.Errorf("%w: %q has a backslash or control character at byte %d", ErrInvalidKey, key, at)
	}
	return nil
}

func forbidden(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }

// checkPrefix refuses prefixes that begin no key.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(strings.TrimSuffix(prefix, "/"))
}

const escapable = "%/\\"

// EscapeSegment makes a segment of a key from any name: bytes that a segment cannot hold become % and two
// hexadecimal digits. A name that is too long for a segment keeps its beginning, before the SHA-256 of the whole. Different
// names give different segments.
func EscapeSegment(name string) string {
	escaped := escape(name)
	if len(escaped) <= maxEscaped {
		return escaped
	}
	kept := escaped[:keptBytes]
	for !utf8.ValidString(kept) { // at most three bytes of a rune that was cut
		kept = kept[:len(kept)-1]
	}
	return fmt.Sprintf("%s%%-%x", kept, sha256.Sum256([]byte(name))) // an escaped byte is never "%-"
}

// A segment may hold other text beside an escaped name of up to maxEscaped bytes. keptBytes is what stays of a longer one.
const (
	maxEscaped = 200
	keptBytes  = 128
)

func escape(name string) string {
	var b strings.Builder
	valid := utf8.ValidString(name)
	for i := range len(name) {
		c := name[i]
		if c < 0x20 || c == 0x7f || strings.IndexByte(escapable, c) >= 0 || i == 0 && c == '.' || c >= utf8.RuneSelf && !valid {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
