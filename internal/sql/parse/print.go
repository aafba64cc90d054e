package parse

import (
	"strconv"
	"unicode/utf8"
)

// Print writes a node as SQL text. Parsing the text of a statement gives the same tree, positions aside.
// Keywords are in upper case, and parentheses stand only where they are needed. Secrets are written in
// full; see PrintMasked.
func Print(node Node) string { return printed(node, false) }

// PrintMasked writes a node like Print, with passwords and credentials replaced by '***', for logs.
func PrintMasked(node Node) string { return printed(node, true) }

func printed(node Node, masked bool) string {
	w := printer{masked: masked}
	w.node(node)
	return string(w.buffer)
}

// printer collects the text of a tree.
type printer struct {
	buffer []byte
	masked bool // replace secrets
}

// node prints any node that can stand alone.
func (w *printer) node(node Node) {
	switch n := node.(type) {
	case nil:
	case Statement:
		w.statement(n)
	case Expr:
		w.expression(n, bindNothing)
	case QueryBody:
		w.body(n)
	case TableExpr:
		w.table(n)
	case AlterAction:
		w.alterAction(n)
	case ObjectName:
		w.object(n)
	case Ident:
		w.name(n.Name)
	case TypeName:
		w.typeName(n)
	case ColumnDef:
		w.columnDef(n)
	case SelectItem:
		w.selectItem(n)
	case OrderItem:
		w.orderItem(n)
	case Option:
		w.option(n)
	}
}

// text adds literal text.
func (w *printer) text(text string) { w.buffer = append(w.buffer, text...) }

// integer adds a number.
func (w *printer) integer(value int64) { w.buffer = strconv.AppendInt(w.buffer, value, 10) }

// when adds literal text under a condition.
func (w *printer) when(condition bool, text string) {
	if condition {
		w.text(text)
	}
}

// separated adds ", " in front of every item but the first.
func (w *printer) separated(index int) { w.when(index > 0, ", ") }

// QuoteName writes a name as SQL does: in quotes where it would not be read back as it is.
func QuoteName(name string) string {
	w := printer{}
	w.name(name)
	return string(w.buffer)
}

// name adds an identifier, in quotes where it would not be read back as it is.
func (w *printer) name(name string) {
	if isPlainName(name) {
		w.text(name)
		return
	}
	w.quoted(name, '"')
}

// isPlainName reports whether a name needs no quotes anywhere.
func isPlainName(name string) bool {
	if name == "" || len(name) > len(wordBuffer{}) && len(name) > MaxIdentifierBytes {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= 'A' && c <= 'Z' || !isWordPart(c) || i == 0 && !isWordStart(c) {
			return false
		}
	}
	return !isReserved(name) && !isNoAlias(name) && !isNotation(name)
}

// quoted adds text between quotes, doubling the quotes in it.
func (w *printer) quoted(text string, quote byte) {
	w.buffer = append(w.buffer, quote)
	for i := 0; i < len(text); i++ {
		if text[i] == quote {
			w.buffer = append(w.buffer, quote)
		}
		w.buffer = append(w.buffer, text[i])
	}
	w.buffer = append(w.buffer, quote)
}

// literal adds a string constant.
func (w *printer) literal(text string) {
	if !utf8.ValidString(text) {
		w.text("X'")
		w.hex(text)
		w.text("'")
		return
	}
	w.quoted(text, '\'')
}

// hex adds bytes as hexadecimal digits.
func (w *printer) hex(text string) {
	const digits = "0123456789abcdef"
	for i := 0; i < len(text); i++ {
		w.buffer = append(w.buffer, digits[text[i]>>4], digits[text[i]&15])
	}
}

// secret adds a string constant that must not appear in logs.
func (w *printer) secret(text string) {
	if w.masked {
		text = "***"
	}
	w.literal(text)
}

// object adds a qualified name.
func (w *printer) object(name ObjectName) {
	if name.Catalog != "" {
		w.name(name.Catalog)
		w.text(".")
	}
	if name.Namespace != "" {
		w.name(name.Namespace)
		w.text(".")
	}
	w.name(name.Name)
}

// names adds a list of names in parentheses.
func (w *printer) names(list []Ident) {
	w.text("(")
	for i, name := range list {
		w.separated(i)
		w.name(name.Name)
	}
	w.text(")")
}

// typeName adds the name of a type. Arguments stand behind the first word of the types of time.
func (w *printer) typeName(name TypeName) {
	first, zone := name.Name, ""
	for _, kind := range []string{"timestamp", "time"} {
		if len(first) > len(kind) && first[:len(kind)] == kind && first[len(kind)] == ' ' {
			first, zone = kind, first[len(kind):]
		}
	}
	w.text(first)
	for i, argument := range name.Args {
		if i == 0 {
			w.text("(")
		}
		w.separated(i)
		w.integer(int64(argument))
		w.when(i == len(name.Args)-1, ")")
	}
	for i, label := range name.Labels {
		w.when(i == 0, "(")
		w.separated(i)
		w.literal(label)
		w.when(i == len(name.Labels)-1, ")")
	}
	w.text(zone)
	w.when(name.Array, "[]")
}

// options adds (name = value, ..).
func (w *printer) options(list []Option) {
	w.text("(")
	for i, option := range list {
		w.separated(i)
		w.option(option)
	}
	w.text(")")
}

// option adds name = value. The name may hold points; its parts are printed one by one.
func (w *printer) option(option Option) {
	w.dotted(option.Name)
	w.text(" = ")
	w.expression(option.Value, bindNothing)
}

// dotted adds a name whose parts are joined by points.
func (w *printer) dotted(name string) {
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			w.when(start > 0, ".")
			w.name(name[start:i])
			start = i + 1
		}
	}
}

// orderBy adds ORDER BY and its items, with a space in front.
func (w *printer) orderBy(list []OrderItem) {
	for i, item := range list {
		w.when(i == 0, " ORDER BY ")
		w.separated(i)
		w.orderItem(item)
	}
}

// orderItem adds one item of ORDER BY.
func (w *printer) orderItem(item OrderItem) {
	w.expression(item.Expr, bindNothing)
	w.direction(item.Descending, item.Nulls)
}

// direction adds the direction of an ordered expression.
func (w *printer) direction(descending bool, nulls NullsOrder) {
	w.when(descending, " DESC")
	w.when(nulls == NullsFirst, " NULLS FIRST")
	w.when(nulls == NullsLast, " NULLS LAST")
}
