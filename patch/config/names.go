package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Schemas is the value of PATCH_SCHEMAS.
type Schemas struct {
	Names []string // in the order of their names
	All   bool     // besides Names, every schema that holds the table
}

func (s *Schemas) UnmarshalText(text []byte) error {
	names, err := splitNames(string(text))
	for _, name := range names {
		if err := checkName(name, "schema"); err != nil {
			return err
		}
		switch {
		case name == "*":
			s.All = true
		case strings.ContainsAny(name, "*?["):
			return errors.New("takes names and, for every schema that holds the table, *; only PATCH_DATABASES takes patterns")
		default:
			s.Names = append(s.Names, name)
		}
	}
	s.Names = sorted(s.Names)
	return err
}

// given reports whether PATCH_SCHEMAS is set.
func (s Schemas) given() bool { return s.All || len(s.Names) > 0 }

// Databases is the value of PATCH_DATABASES.
type Databases struct {
	Names    []string // in the order of their names
	Patterns []string // in the syntax of path.Match
	LeftOut  []string // patterns of databases that are not found, in the same syntax
}

func (d *Databases) UnmarshalText(text []byte) error {
	names, err := splitNames(string(text))
	if err != nil {
		return err
	}
	for i, name := range names {
		pattern, leftOut := strings.CutPrefix(name, "!")
		pattern = strings.TrimSpace(pattern)
		if err := checkName(pattern, "database"); err != nil {
			return err
		}
		if !leftOut && !strings.ContainsAny(name, `*?[\`) {
			d.Names = append(d.Names, name)
			continue
		}
		pattern, err := translate(pattern)
		if err != nil {
			return fmt.Errorf("name %d of %d %w", i+1, len(names), err)
		}
		if leftOut {
			d.LeftOut = append(d.LeftOut, pattern)
		} else {
			d.Patterns = append(d.Patterns, pattern)
		}
	}
	if len(d.LeftOut) == len(names) {
		d.Patterns = []string{"*"}
	}
	d.Names = sorted(d.Names)
	return nil
}

// translate returns a shell pattern in the syntax of path.Match, in which ^ negates what is in brackets.
func translate(pattern string) (string, error) {
	text := []byte(pattern)
	brackets, malformed := false, pattern == "" || pattern[0] == '!' // neither of which is left out
	for i := 0; i < len(text); i++ {
		next := text[min(i+1, len(text)-1)]
		switch c := text[i]; {
		case c == '\\':
			i++
		case brackets:
			malformed = malformed || c == '[' && strings.ContainsRune(":.=", rune(next)) // a class of the shell's, as [:alpha:]
			brackets = c != ']'
		case c == '[':
			if brackets = true; next == '!' {
				text[i+1] = '^'
			}
		}
	}
	if _, err := path.Match(string(text), ""); err != nil || malformed {
		return "", errors.New("is a pattern that is not well formed")
	}
	return string(text), nil
}

// Matches reports whether a pattern matches the name of a database, and none leaves it out. In a name, a slash is a character like any
// other.
func (d Databases) Matches(name string) bool {
	matches := func(pattern string) bool {
		matched, _ := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
		return matched
	}
	return slices.ContainsFunc(d.Patterns, matches) && !slices.ContainsFunc(d.LeftOut, matches)
}

// splitNames splits a list of names at its commas.
func splitNames(text string) ([]string, error) {
	names := strings.Split(text, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
		switch {
		case names[i] == "" && i == len(names)-1:
			return nil, errors.New("ends with a comma")
		case names[i] == "":
			return nil, fmt.Errorf("has nothing before comma %d", i+1)
		}
	}
	return names, nil
}

// sorted returns names in order, each once.
func sorted(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// maxName is the longest name that PostgreSQL has, in bytes (PostgreSQL documentation, Identifiers and Key Words).
const maxName = 63

// checkName returns an error for a name that PostgreSQL cannot have given to anything. It does not quote the name.
func checkName(name, kind string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("names a %s of more than 63 bytes, which PostgreSQL does not have", kind)
	case strings.ContainsRune(name, 0) || !utf8.ValidString(name):
		return fmt.Errorf("names a %s with a NUL, or not in UTF-8, which PostgreSQL cannot store", kind)
	}
	return nil
}

// Count is the value of PATCH_CONNECTIONS.
type Count int

// maxCount is the most connections that are allowed, far more than a server has processors.
const maxCount = 1000

func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxCount {
		return errors.New("is not a whole number from 1 to 1000")
	}
	*c = Count(n)
	return nil
}
