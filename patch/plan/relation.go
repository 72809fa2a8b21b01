package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"evolution-openai-patch/patch/quote"
)

// Relation is a table, an index, or another thing that has its name in the same space.
type Relation struct {
	OID       string   `json:"oid"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind"` // pg_class.relkind
	Partition bool     `json:"partition"`
	Owner     string   `json:"owner"`
	Mine      bool     `json:"mine"`     // the role may alter it
	Hidden    bool     `json:"hidden"`   // row security would hide rows from the role
	Readable  bool     `json:"readable"` // the role may read every column
	Rules     bool     `json:"rules"`    // there are rules, or were
	Children  bool     `json:"children"` // tables inherit from it, or did
	Columns   []Column `json:"-"`
	Indexes   []*Index `json:"-"` // of Evolution's table
}

// Relation returns the relation of that name, nil if there is none.
func (s *State) Relation(name string) *Relation {
	for i := range s.Relations {
		if s.Relations[i].Name == name {
			return &s.Relations[i]
		}
	}
	return nil
}

// Column describes a column of a table.
type Column struct {
	Relation  string `json:"relation"` // the OID of the table
	Name      string `json:"name"`
	Number    int    `json:"number"`
	Type      string `json:"type"`
	Text      bool   `json:"text"`  // the type is text or varchar
	Limit     int    `json:"limit"` // in characters, 0 for none
	Generated bool   `json:"generated"`
	Computed  bool   `json:"computed"`  // it is generated from the key
	Collation string `json:"collation"` // its OID
	Equates   bool   `json:"-"`         // the collation may hold different strings for equal
}

// OIDs of the collation of columns that take none, and of those that take the one of the database, which is deterministic
// (PostgreSQL source, src/include/catalog/pg_collation.dat).
const (
	NoCollation      = "0"
	DefaultCollation = "100"
)

// Column returns the column of that name, nil if there is none.
func (t *Relation) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Index returns the index with that OID, nil if there is none.
func (t *Relation) Index(oid string) *Index {
	for _, x := range t.Indexes {
		if x.OID == oid {
			return x
		}
	}
	return nil
}

// computes reports whether the index has no other keys than columns that are generated from Evolution's key.
func (t *Relation) computes(x *Index) bool {
	return len(x.Columns) > 0 && !slices.ContainsFunc(x.Columns[:min(x.Keys, len(x.Columns))], func(n int) bool {
		return !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Number == n && c.Computed })
	})
}

// CanCopy reports whether COPY of these columns returns every row: it is an ordinary table whose rows the role may see.
func (t *Relation) CanCopy(columns ...string) bool {
	if t == nil || t.Kind != "r" || !t.Readable || t.Hidden {
		return false
	}
	return !slices.ContainsFunc(columns, func(name string) bool {
		c := t.Column(name)
		return c == nil || c.Generated
	})
}

// Index describes one index of the table.
type Index struct {
	OID         string       `json:"oid"`
	Name        string       `json:"name"` // qualified and quoted
	Definition  string       `json:"definition"`
	Key         string       `json:"key"` // the first key column or expression, as PostgreSQL prints it
	Keys        int          `json:"keys"`
	Columns     []int        `json:"columns"` // pg_index.indkey: column numbers, 0 for an expression
	Unique      bool         `json:"unique"`
	Primary     bool         `json:"primary"`
	Expressions bool         `json:"expressions"`
	Partial     bool         `json:"partial"`
	Identity    bool         `json:"identity"` // it is the replica identity
	Constraints []Constraint `json:"-"`        // that it implements, or that need it
}

// Constraint describes a constraint of the table, or a foreign key that refers to it.
type Constraint struct {
	Name            string `json:"name"`
	Type            string `json:"type"`     // pg_constraint.contype
	Relation        string `json:"relation"` // the OID of its table
	Table           string `json:"table"`    // the same, as a name, qualified and quoted
	Columns         []int  `json:"columns"`  // their numbers
	Referred        string `json:"referred"` // of a foreign key: the OID of the table that it refers to
	ReferredColumns []int  `json:"referred_columns"`
	Index           string `json:"index"` // the OID of the index that it is implemented by or needs
	Definition      string `json:"definition"`
	Validated       bool   `json:"validated"` // every stored row satisfies it
	Follows         bool   `json:"follows"`   // of a foreign key: ON UPDATE CASCADE, SET NULL or SET DEFAULT
}

// concerns reports whether the constraint is about the column with this number.
func (c Constraint) concerns(column int) bool { return slices.Contains(c.Columns, column) }

// long reports whether the definition of the index is longer than what is read of it.
func (x *Index) long() bool { return utf8.RuneCountInString(x.Definition) > 4000 }

// special reports whether the index is not a plain one, or serves a further purpose.
func (x *Index) special() bool { return x.Expressions || x.Partial || x.Identity }

// Constraint returns the unique (u) or exclusion (x) constraint that the index implements, nil if there is none.
func (x *Index) Constraint(kind string) *Constraint {
	for i := range x.Constraints {
		if x.Constraints[i].Type == kind {
			return &x.Constraints[i]
		}
	}
	return nil
}

// dependants returns the foreign keys that need the index.
func (x *Index) dependants() (found []string) {
	for _, c := range x.Constraints {
		if c.Type == "f" {
			found = append(found, "foreign key "+c.ofTable())
		}
	}
	return found
}

// ofTable returns the names of the constraint and its table, for a message.
func (c Constraint) ofTable() string {
	return fmt.Sprintf("%s of table %s", quote.Identifier(c.Name), c.Table)
}

// Covers reports whether the column, or an expression of it, is the only key of the index.
func (x *Index) Covers(column string) bool { return x.Keys == 1 && mentions(x.Key, column) }

// onlyColumn reports whether c is the only plain column among several keys of the index. The others are expressions,
// which may have the same value in every row.
func (x *Index) onlyColumn(c *Column) bool {
	numbers := x.Columns[:min(x.Keys, len(x.Columns))]
	return x.Keys > 1 && !slices.ContainsFunc(numbers, func(n int) bool { return n != 0 && n != c.Number }) &&
		(slices.Contains(numbers, c.Number) || mentions(x.Definition, c.Name))
}

// mentions reports whether a column stands in an index key or definition as PostgreSQL prints it.
func mentions(expression, column string) bool {
	words := strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(` "().,:[]`, r) })
	return slices.Contains(words, column)
}
