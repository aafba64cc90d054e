package jsontext

// MaxDepth is how deep documents are nested at most, as in the standard library.
const MaxDepth = 10_000

// Valid reports what json.Valid does.
func (w *Walk) Valid(m []byte) bool {
	var open []byte // what closes the arrays and objects around the place, the innermost last
	at := skipSpace(m, 0)
	for {
		before := at
		var ok, opened bool
		if at, opened, ok = validToken(m, at); !ok {
			return false
		}
		if opened {
			if open = append(open, m[before]+2); len(open) > MaxDepth { // } and ] come two behind { and [
				return false
			}
			at = skipSpace(m, at)
			if at < len(m) && m[at] == open[len(open)-1] {
				at, open = at+1, open[:len(open)-1]
			} else if open[len(open)-1] == '}' {
				if at, ok = validKey(m, at); !ok {
					return false
				}
				continue
			} else {
				continue
			}
		}
		if at, open, ok = validClosing(m, at, open); !ok {
			return false
		}
		if !w.Went(at - before) {
			return false
		}
		if len(open) == 0 {
			return at == len(m)
		}
		// a comma was read
		if open[len(open)-1] == '}' {
			if at, ok = validKey(m, at); !ok {
				return false
			}
		}
	}
}

// validClosing reads what follows a value: closing brackets, and a comma when one is still open.
func validClosing(m []byte, at int, open []byte) (behind int, left []byte, ok bool) {
	for {
		at = skipSpace(m, at)
		if len(open) == 0 {
			return at, open, true
		}
		if at >= len(m) {
			return at, open, false
		}
		switch m[at] {
		case ',':
			return skipSpace(m, at+1), open, true
		case open[len(open)-1]:
			at, open = at+1, open[:len(open)-1]
		default:
			return at, open, false
		}
	}
}

// validKey reads a key and the colon.
func validKey(m []byte, at int) (behind int, ok bool) {
	if at >= len(m) || m[at] != '"' {
		return at, false
	}
	if at, ok = validString(m, at); !ok {
		return at, false
	}
	if at = skipSpace(m, at); at >= len(m) || m[at] != ':' {
		return at, false
	}
	return skipSpace(m, at+1), true
}

// validToken reads a string, a number, a word, or the beginning of an array or object.
func validToken(m []byte, at int) (behind int, opened, ok bool) {
	if at >= len(m) {
		return at, false, false
	}
	switch c := m[at]; {
	case c == '{', c == '[':
		return at + 1, true, true
	case c == '"':
		at, ok = validString(m, at)
		return at, false, ok
	case c == '-', c >= '0' && c <= '9':
		at, ok = validNumber(m, at)
		return at, false, ok
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(m)-at >= len(word) && string(m[at:at+len(word)]) == word {
			return at + len(word), false, true
		}
	}
	return at, false, false
}

func validString(m []byte, at int) (behind int, ok bool) {
	for at++; at < len(m); at++ {
		switch c := m[at]; {
		case c == '"':
			return at + 1, true
		case c < ' ':
			return at, false
		case c == '\\':
			if at++; at >= len(m) {
				return at, false
			}
			switch m[at] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if at++; at >= len(m) || !isHex(m[at]) {
						return at, false
					}
				}
			default:
				return at, false
			}
		}
	}
	return at, false
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func validNumber(m []byte, at int) (behind int, ok bool) {
	if m[at] == '-' {
		at++
	}
	whole := at
	if at, ok = validDigits(m, at); !ok || m[whole] == '0' && at > whole+1 {
		return at, false
	}
	if at < len(m) && m[at] == '.' {
		if at, ok = validDigits(m, at+1); !ok {
			return at, false
		}
	}
	if at < len(m) && (m[at] == 'e' || m[at] == 'E') {
		if at++; at < len(m) && (m[at] == '+' || m[at] == '-') {
			at++
		}
		return validDigits(m, at)
	}
	return at, true
}

func validDigits(m []byte, at int) (behind int, some bool) {
	from := at
	for at < len(m) && m[at] >= '0' && m[at] <= '9' {
		at++
	}
	return at, at > from
}
