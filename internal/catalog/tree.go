package catalog

import "cmp"

// tree is a persistent sorted map: an AVL tree whose nodes are never changed after they are shared. set and
// remove return a new tree and copy only the path to the change. The zero tree is empty.
type tree[K cmp.Ordered, V any] struct {
	root *node[K, V]
	size int
}

type node[K cmp.Ordered, V any] struct {
	key         K
	value       V
	left, right *node[K, V]
	height      int8
}

func (t tree[K, V]) get(key K) (value V, ok bool) {
	for n := t.root; n != nil; {
		switch c := cmp.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return value, false
}

func (t tree[K, V]) set(key K, value V) tree[K, V] {
	root, added := insert(t.root, key, value)
	if added {
		t.size++
	}
	t.root = root
	return t
}

func (t tree[K, V]) remove(key K) tree[K, V] {
	if _, ok := t.get(key); !ok {
		return t
	}
	return tree[K, V]{root: removeNode(t.root, key), size: t.size - 1}
}

// ascend calls visit in key order, from the first key at or after from, until it returns false.
func (t tree[K, V]) ascend(from K, visit func(K, V) bool) { ascendNode(t.root, from, visit) }

// values lists all values in key order.
func (t tree[K, V]) values() []V {
	list := make([]V, 0, t.size)
	eachNode(t.root, func(v V) { list = append(list, v) })
	return list
}

// fromSorted builds a balanced tree of strictly ascending keys.
func fromSorted[K cmp.Ordered, V any](keys []K, values []V) tree[K, V] {
	return tree[K, V]{root: buildNode(keys, values), size: len(keys)}
}

func buildNode[K cmp.Ordered, V any](keys []K, values []V) *node[K, V] {
	if len(keys) == 0 {
		return nil
	}
	mid := len(keys) / 2
	n := &node[K, V]{key: keys[mid], value: values[mid]}
	n.left = buildNode(keys[:mid], values[:mid])
	n.right = buildNode(keys[mid+1:], values[mid+1:])
	n.height = 1 + max(height(n.left), height(n.right))
	return n
}

func insert[K cmp.Ordered, V any](n *node[K, V], key K, value V) (result *node[K, V], added bool) {
	if n == nil {
		return &node[K, V]{key: key, value: value, height: 1}, true
	}
	own := *n
	switch c := cmp.Compare(key, n.key); {
	case c < 0:
		own.left, added = insert(n.left, key, value)
	case c > 0:
		own.right, added = insert(n.right, key, value)
	default:
		own.value = value
		return &own, false
	}
	return balance(&own), added
}

// removeNode removes a key that is known to be present.
func removeNode[K cmp.Ordered, V any](n *node[K, V], key K) *node[K, V] {
	own := *n
	switch c := cmp.Compare(key, n.key); {
	case c < 0:
		own.left = removeNode(n.left, key)
	case c > 0:
		own.right = removeNode(n.right, key)
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	default:
		first := n.right
		for first.left != nil {
			first = first.left
		}
		own.key, own.value = first.key, first.value
		own.right = removeNode(n.right, first.key)
	}
	return balance(&own)
}

// balance restores the heights below a node that only its maker knows.
func balance[K cmp.Ordered, V any](n *node[K, V]) *node[K, V] {
	switch lean := height(n.left) - height(n.right); {
	case lean > 1:
		if height(n.left.left) < height(n.left.right) {
			left := *n.left
			n.left = rotateLeft(&left)
		}
		return rotateRight(n)
	case lean < -1:
		if height(n.right.right) < height(n.right.left) {
			right := *n.right
			n.right = rotateRight(&right)
		}
		return rotateLeft(n)
	}
	n.height = 1 + max(height(n.left), height(n.right))
	return n
}

// rotateRight lifts the left child; n is private to the caller, its child may be shared.
func rotateRight[K cmp.Ordered, V any](n *node[K, V]) *node[K, V] {
	top := *n.left
	n.left = top.right
	n.height = 1 + max(height(n.left), height(n.right))
	top.right = n
	top.height = 1 + max(height(top.left), height(top.right))
	return &top
}

// rotateLeft lifts the right child; n is private to the caller, its child may be shared.
func rotateLeft[K cmp.Ordered, V any](n *node[K, V]) *node[K, V] {
	top := *n.right
	n.right = top.left
	n.height = 1 + max(height(n.left), height(n.right))
	top.left = n
	top.height = 1 + max(height(top.left), height(top.right))
	return &top
}

func height[K cmp.Ordered, V any](n *node[K, V]) int8 {
	if n == nil {
		return 0
	}
	return n.height
}

func eachNode[K cmp.Ordered, V any](n *node[K, V], visit func(V)) {
	if n != nil {
		eachNode(n.left, visit)
		visit(n.value)
		eachNode(n.right, visit)
	}
}

func ascendNode[K cmp.Ordered, V any](n *node[K, V], from K, visit func(K, V) bool) bool {
	if n == nil {
		return true
	}
	if cmp.Less(from, n.key) && !ascendNode(n.left, from, visit) {
		return false
	}
	if !cmp.Less(n.key, from) && !visit(n.key, n.value) {
		return false
	}
	return ascendNode(n.right, from, visit)
}

// treeOf builds a tree of values that are in strictly ascending order of their keys.
func treeOf[K cmp.Ordered, V any](sorted []V, key func(V) K) tree[K, V] {
	list := make([]K, len(sorted))
	for i, v := range sorted {
		list[i] = key(v)
	}
	return fromSorted(list, sorted)
}
