package disk

import "unsafe"

// DirectAlign is what addresses, offsets and lengths of accesses past the page cache are multiples of.
const DirectAlign = 4096

// AlignedBuffer returns an empty slice with at least the given capacity whose address is a multiple of DirectAlign.
// Appending within the capacity keeps it so.
func AlignedBuffer(capacity int) []byte {
	b := make([]byte, capacity+DirectAlign-1)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (DirectAlign - 1) //nolint:gosec // only the address is looked at
	return b[skip : skip : skip+capacity]
}
