//go:build !linux

package bench

func newSQLLoad(int) (sqlLoad, error) { return &sqlGoroutines{}, nil }
