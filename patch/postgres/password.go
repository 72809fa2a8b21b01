package postgres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Tables of RFC 3454, which RFC 4013 maps to a space and to nothing.
var (
	otherSpaces = &unicode.RangeTable{R16: []unicode.Range16{ // C.1.2
		{0x00a0, 0x00a0, 1}, {0x1680, 0x1680, 1}, {0x2000, 0x200b, 1}, {0x202f, 0x202f, 1}, {0x205f, 0x205f, 1}, {0x3000, 0x3000, 1},
	}, LatinOffset: 1}
	mappedToNothing = &unicode.RangeTable{R16: []unicode.Range16{ // B.1, without U+200B, which is a space in PostgreSQL
		{0x00ad, 0x00ad, 1},
		{0x034f, 0x034f, 1},
		{0x1806, 0x1806, 1},
		{0x180b, 0x180d, 1},
		{0x200c, 0x200d, 1},
		{0x2060, 0x2060, 1},
		{0xfe00, 0xfe0f, 1},
		{0xfeff, 0xfeff, 1},
	}, LatinOffset: 1}
)

// prepare returns a password as PostgreSQL prepares it for SCRAM (RFC 4013, SASLprep; saslprep.c). What that prohibits is not looked
// for: where PostgreSQL found it, it took the password as it is, which is tried as well.
func prepare(password string) string {
	mapped := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(otherSpaces, r):
			return ' '
		case unicode.Is(mappedToNothing, r):
			return -1
		}
		return r
	}, password)
	return norm.NFKC.String(mapped)
}

// passwords returns the passwords to log in with, one after the other. That which has worked comes first, or the prepared one: it is
// what SCRAM needs, and MD5 takes the other.
func (t Target) passwords() []string {
	raw := t.conn.Password
	prepared := prepare(raw)
	switch {
	case prepared == raw || prepared == "" || !utf8.ValidString(raw):
		return []string{raw}
	case t.server.rawPassword.Load():
		return []string{raw, prepared}
	}
	return []string{prepared, raw}
}
