package objstore

import (
	"context"
	"io"
	"strings"
)

// Under is the part of a store whose keys begin with a prefix and a slash; an empty prefix is all of it.
func Under(store Store, prefix string) Store {
	if prefix == "" {
		return store
	}
	return &under{store: store, prefix: prefix + "/"}
}

type under struct {
	store  Store
	prefix string
}

func (u *under) Put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error) {
	if err := CheckKey(key); err != nil {
		return ObjectInfo{}, err
	}
	info, err := u.store.Put(ctx, u.prefix+key, body, size, opts)
	return u.strip(info), err
}

func (u *under) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	return u.store.Get(ctx, u.prefix+key, offset, length)
}

func (u *under) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	if err := CheckKey(key); err != nil {
		return ObjectInfo{}, err
	}
	info, err := u.store.Stat(ctx, u.prefix+key)
	return u.strip(info), err
}

func (u *under) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	return u.store.List(ctx, u.prefix+prefix, func(info ObjectInfo) error { return fn(u.strip(info)) })
}

func (u *under) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return u.store.Delete(ctx, u.prefix+key)
}

func (u *under) strip(info ObjectInfo) ObjectInfo {
	info.Key = strings.TrimPrefix(info.Key, u.prefix)
	return info
}
