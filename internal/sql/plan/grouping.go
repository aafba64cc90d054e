package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// The limits of grouping sets are those of PostgreSQL; a query with more is refused.
const (
	maxGroupingSets = 4096
	maxCubeItems    = 12
)

// groupingKeys binds the items of a GROUP BY.
type groupingKeys struct {
	builder  *queryBuilder
	items    []parse.SelectItem
	scope    *expr.Scope
	grouping *expr.Grouping
}

// all binds everything. Items beside each other combine: each set of one with each set of the others.
func (k *groupingKeys) all(body *parse.Select) error {
	if !slices.ContainsFunc(body.GroupBy, func(node parse.Expr) bool { _, sets := node.(*parse.GroupingSets); return sets }) {
		for _, node := range body.GroupBy {
			if _, err := k.set(node); err != nil {
				return err
			}
		}
		return nil
	}
	sets := [][]int{{}}
	for _, node := range body.GroupBy {
		own, err := k.sets(node)
		if err != nil {
			return err
		}
		if len(sets)*len(own) > maxGroupingSets {
			return tooManySets(node)
		}
		combined := make([][]int, 0, len(sets)*len(own))
		for _, first := range sets {
			for _, second := range own {
				combined = append(combined, union(first, second))
			}
		}
		sets = combined
	}
	if body.GroupDistinct {
		sets = differing(sets)
	}
	if len(sets) > 1 || len(sets[0]) < len(k.grouping.Keys) {
		k.grouping.Sets = sets
	}
	return nil
}

// sets are the grouping sets of one item.
func (k *groupingKeys) sets(node parse.Expr) ([][]int, error) {
	grouped, ok := node.(*parse.GroupingSets)
	if !ok {
		set, err := k.set(node)
		return [][]int{set}, err
	}
	if grouped.Kind == parse.GroupingList {
		var sets [][]int
		for _, item := range grouped.Items {
			own, err := k.sets(item)
			if err != nil {
				return nil, err
			}
			if sets = append(sets, own...); len(sets) > maxGroupingSets {
				return nil, tooManySets(item)
			}
		}
		return sets, nil
	}
	items := make([][]int, len(grouped.Items))
	for i, item := range grouped.Items {
		var err error
		if items[i], err = k.set(item); err != nil {
			return nil, err
		}
	}
	if grouped.Kind == parse.GroupingCube {
		return cube(grouped, items)
	}
	var sets [][]int // of ROLLUP; of () it is the one set without items
	for n := len(items); n >= 0; n-- {
		sets = append(sets, union(items[:n]...))
	}
	return sets, nil
}

// cube is every choice of items, those with the first ones first.
func cube(node parse.Node, items [][]int) ([][]int, error) {
	if len(items) > maxCubeItems {
		return nil, at(node, fault.New(fault.LimitExceeded, "CUBE takes at most %d items, got %d", maxCubeItems, len(items)))
	}
	var sets [][]int
	for choice := 1<<len(items) - 1; choice >= 0; choice-- {
		var set []int
		for i, item := range items {
			if choice&(1<<(len(items)-1-i)) != 0 {
				set = union(set, item)
			}
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// set is the set of an item that is an expression, or a row of several.
func (k *groupingKeys) set(node parse.Expr) ([]int, error) {
	row, ok := node.(*parse.Row)
	if !ok {
		key, err := k.key(node)
		return []int{key}, err
	}
	var set []int
	for _, element := range row.Elements {
		own, err := k.set(element)
		if err != nil {
			return nil, err
		}
		set = union(set, own)
	}
	return set, nil
}

// key binds an expression and returns its place among the keys.
func (k *groupingKeys) key(node parse.Expr) (int, error) {
	target, err := groupTarget(node, k.items, k.scope)
	if err != nil {
		return 0, err
	}
	bound, err := expr.Bind(target, k.scope, k.builder.scoped("GROUP BY", k.scope, nil))
	if err != nil {
		return 0, err
	}
	text := bound.String()
	for i, known := range k.grouping.Keys {
		if expr.MayMove(known) && known.String() == text {
			return i, nil
		}
	}
	k.grouping.Keys = append(k.grouping.Keys, bound)
	return len(k.grouping.Keys) - 1, nil
}

// union has the members of all sets, in the order in which they first come.
func union(sets ...[]int) []int {
	all := []int{}
	for _, set := range sets {
		for _, member := range set {
			if !slices.Contains(all, member) {
				all = append(all, member)
			}
		}
	}
	return all
}

// differing drops every set that has the members of one before it.
func differing(sets [][]int) [][]int {
	seen := map[string]bool{}
	return slices.DeleteFunc(sets, func(set []int) bool {
		text := setText(slices.Sorted(slices.Values(set)))
		known := seen[text]
		seen[text] = true
		return known
	})
}

func tooManySets(node parse.Node) error {
	return at(node, fault.New(fault.LimitExceeded, "GROUP BY has more than %d grouping sets", maxGroupingSets))
}

// groupedBy reports whether a condition reads nothing but keys by which the rows of every set are grouped.
func (a *Aggregate) groupedBy(condition expr.Expr) bool {
	if len(a.Grouping.Keys) == 0 || !reads(condition, len(a.Grouping.Keys)) {
		return false
	}
	for position := range expr.Columns(condition, nil) {
		for _, set := range a.Grouping.Sets {
			if !slices.Contains(set, position) {
				return false
			}
		}
	}
	return true
}

// setsText prints grouping sets by the numbers of their keys.
func setsText(sets [][]int) string {
	if sets == nil {
		return ""
	}
	texts := make([]string, len(sets))
	for i, set := range sets {
		texts[i] = setText(set)
	}
	return " sets=[" + strings.Join(texts, ", ") + "]"
}

func setText(set []int) string {
	members := make([]string, len(set))
	for i, member := range set {
		members[i] = strconv.Itoa(member)
	}
	return "(" + strings.Join(members, " ") + ")"
}
