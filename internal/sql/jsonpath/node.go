package jsonpath

import (
	"math"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/sql/timeform"
)

// Path is a parsed path. It does not change, and many evaluations may use it at the same time.
type Path struct {
	strict bool
	root   *node
}

// Compile reads a regular expression. Query hands what it made to Options.Match.
type Compile func(pattern string, ignoreCase bool) (any, error)

// kind is what a step or an operator of a path is.
type kind uint8

const (
	nullNode kind = iota
	boolNode
	numberNode
	textNode
	variableNode
	rootNode
	currentNode
	lastNode
	// accessors
	keyNode
	anyKeyNode
	anyElementNode
	elementsNode
	anyDepthNode
	filterNode
	typeNode
	sizeNode
	absNode
	floorNode
	ceilingNode
	doubleNode
	datetimeNode
	keyvalueNode
	// predicates
	orNode
	andNode
	notNode
	unknownNode
	existsNode
	equalNode
	unequalNode
	lessNode
	lessEqualNode
	greaterNode
	greaterEqualNode
	startsNode
	regexNode
	// arithmetic
	addNode
	subtractNode
	multiplyNode
	divideNode
	remainderNode
	plusNode
	minusNode
)

// lastLevel is the level "last" of **{…}.
const lastLevel = math.MaxUint32

// node is a step of a path, and next the one that follows it. Operators have operands, and may be followed by steps, too.
type node struct {
	kind        kind
	truth       bool         // of boolNode
	text        string       // a key, a text, the name of a variable, the pattern of regexNode, the template of datetimeNode
	flags       string       // of regexNode, in the order of regexFlags
	number      *apd.Decimal // of numberNode; never changed
	left, right *node        // operands; left alone of filterNode, notNode, unknownNode, existsNode, plusNode and minusNode
	ranges      []indexRange // of elementsNode
	first, last uint32       // levels of anyDepthNode
	pattern     any          // what Compile made of regexNode
	template    *timeform.Template
	next        *node
}

// indexRange is one subscript; to is nil when it is a single one.
type indexRange struct{ from, to *node }

func (n *node) isPredicate() bool { return n.kind >= orNode && n.kind <= regexNode }

// symbols are the operators between two operands, as they are printed.
var symbols = map[kind]string{ //nolint:gochecknoglobals // a table
	orNode: "||", andNode: "&&", equalNode: "==", unequalNode: "!=", lessNode: "<", lessEqualNode: "<=", greaterNode: ">",
	greaterEqualNode: ">=", startsNode: "starts with", addNode: "+", subtractNode: "-", multiplyNode: "*", divideNode: "/", remainderNode: "%",
	plusNode: "+", minusNode: "-",
}

// methods are the accessors that look like calls.
var methods = map[string]kind{ //nolint:gochecknoglobals // a table
	"type": typeNode, "size": sizeNode, "abs": absNode, "floor": floorNode, "ceiling": ceilingNode, "double": doubleNode,
	"datetime": datetimeNode, "keyvalue": keyvalueNode,
}

func methodName(k kind) string {
	for name, method := range methods {
		if method == k {
			return name
		}
	}
	return ""
}
