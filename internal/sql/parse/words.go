package parse

import "strings"

// wordBuffer is room to fold a keyword without allocating; no keyword is longer.
type wordBuffer [24]byte

// fold writes the lower case of a word into the buffer. Words too long to be keywords give nothing.
func (b *wordBuffer) fold(word string) []byte {
	if len(word) > len(b) {
		return nil
	}
	for i := 0; i < len(word); i++ {
		b[i] = lower(word[i])
	}
	return b[:len(word)]
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// sameWord reports whether a word is the given keyword, which is in lower case.
func sameWord(word, keyword string) bool {
	if len(word) != len(keyword) {
		return false
	}
	for i := 0; i < len(word); i++ {
		if lower(word[i]) != keyword[i] {
			return false
		}
	}
	return true
}

// foldName returns a word in lower case. Only ASCII letters are folded, as in PostgreSQL.
func foldName(word string) string {
	for i := 0; i < len(word); i++ {
		if c := word[i]; c >= 'A' && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				if r >= 'A' && r <= 'Z' {
					return r + ('a' - 'A')
				}
				return r
			}, word)
		}
	}
	return word
}

// isReserved reports whether an unquoted word cannot be the name of a column, table or alias.
func isReserved(word string) bool {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "all", "and", "any", "as", "asc", "asymmetric", "case", "cast", "check", "collate", "column",
		"constraint", "create", "cross", "default", "desc", "distinct", "else", "end", "except", "false",
		"fetch", "for", "foreign", "from", "full", "group", "having", "ilike", "in", "inner", "intersect",
		"into", "is", "isnull", "join", "lateral", "left", "like", "limit", "natural", "not", "notnull",
		"null", "on", "or", "order", "outer", "primary", "references", "returning", "right", "select",
		"similar", "some", "symmetric", "table", "then", "to", "true", "union", "unique", "using", "when",
		"where", "window", "with":
		return true
	}
	return isNiladic(word)
}

// isNiladic reports whether a word is a function that is called without parentheses.
func isNiladic(word string) bool {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "current_catalog", "current_date", "current_role", "current_schema", "current_time",
		"current_timestamp", "current_user", "localtime", "localtimestamp", "session_user":
		return true
	}
	return false
}

// isNotation reports whether a word begins a notation of its own in an expression when what follows fits.
// Such a word is a name elsewhere; the printer quotes it to be safe.
func isNotation(word string) bool {
	switch word {
	case "array", "exists", "extract", "interval", "normalize", "overlay", "position", "row", "substring", "trim",
		"try_cast", "values":
		return true
	}
	return false
}

// isTypeWord reports whether a word followed by a string is a typed literal.
func isTypeWord(word string) bool {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "bigint", "bool", "boolean", "bytea", "bytes", "char", "character", "date", "datetime", "decimal",
		"double", "embedding", "float", "float4", "float8", "int", "int2", "int4", "int8", "integer", "json",
		"jsonb", "numeric", "real", "smallint", "string", "text", "time", "timestamp", "timestamptz",
		"timetz", "uuid", "varchar", "vector":
		return true
	}
	return false
}

// isNoAlias reports whether an unquoted word cannot be an alias without AS, though it may be a name.
func isNoAlias(word string) bool {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "filter", "offset", "options", "over", "set", "tablesample", "within":
		return true
	}
	return isReserved(word)
}
