package patch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"evolution-openai-patch/patch/postgres"
)

// State is what the database says of one schema at one moment.
type State struct {
	Schema    string     `json:"schema"`
	Role      string     `json:"role"` // that is connected
	Superuser bool       `json:"superuser"`
	Standby   bool       `json:"standby"`
	Migrating bool       `json:"migrating"` // somebody holds Prisma's migration lock
	Guarded   bool       `json:"guarded"`   // there is a schema with the name of the guard's
	Relations []Relation `json:"relations"` // whatever has a name that matters here
	Table     *Relation  `json:"-"`         // Evolution's, nil if there is none
	List      *Relation  `json:"-"`         // Prisma's list of migrations, nil if there is none
	Grantees  []string   `json:"-"`         // to whom default privileges open what the role creates; only where something may be created
	Padding
	Guard      *Guard     `json:"guard"` // nil if there is nothing of one
	Migrations Migrations `json:"-"`
	Keys       *Keys      `json:"-"` // nil if they were not read

	answers []answer // from which all this was decoded, to be compared under the lock
}

// Padding is what padding.sql asks. All of it is zero without the table.
type Padding struct {
	Triggers         []Trigger `json:"triggers"`
	Function         *Function `json:"function"` // of our name, nil if there is none
	Rules            []string  `json:"rules"`
	Checks           []Check   `json:"checks"`
	ForeignKeys      []string  `json:"foreign_keys"` // that the column of the keys is part of
	Statistics       []string  `json:"statistics"`
	Children         []string  `json:"children"` // tables that inherit
	Replica          []string  `json:"replica"`  // roles and databases for which no ordinary trigger fires
	Nondeterministic bool      `json:"nondeterministic"`
}

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
	Columns   []Column `json:"columns"`
	Indexes   []*Index `json:"indexes"` // of Evolution's table
}

// relation returns the relation of that name, nil if there is none.
func (s *State) relation(name string) *Relation {
	for i := range s.Relations {
		if s.Relations[i].Name == name {
			return &s.Relations[i]
		}
	}
	return nil
}

// Column describes a column of a table.
type Column struct {
	Name      string `json:"name"`
	Number    int    `json:"number"`
	Type      string `json:"type"`
	Text      bool   `json:"text"`    // the type is text or varchar
	BuiltIn   bool   `json:"builtin"` // the type is PostgreSQL's own
	Limit     int    `json:"limit"`   // in characters, 0 for none
	Generated bool   `json:"generated"`
}

// column returns the column of that name, nil if there is none.
func (t *Relation) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// canCopy reports whether COPY of these columns returns every row: it is an ordinary table whose rows the role may see.
func (t *Relation) canCopy(columns ...string) bool {
	if t == nil || t.Kind != "r" || !t.Readable || t.Hidden {
		return false
	}
	return !slices.ContainsFunc(columns, func(name string) bool {
		c := t.column(name)
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
	Columns     string       `json:"columns"` // pg_index.indkey: column numbers, 0 for an expression
	Unique      bool         `json:"unique"`
	Primary     bool         `json:"primary"`
	Expressions bool         `json:"expressions"`
	Partial     bool         `json:"partial"`
	Identity    bool         `json:"identity"`    // it is the replica identity
	Constraints []Constraint `json:"constraints"` // that it implements, or that need it
}

// Constraint describes one constraint that an index has to do with.
type Constraint struct {
	Name       string `json:"name"`
	Type       string `json:"type"`  // pg_constraint.contype: u, x or f
	Table      string `json:"table"` // qualified and quoted
	Definition string `json:"definition"`
}

// Check describes one CHECK constraint of the table.
type Check struct {
	Name       string `json:"name"`
	Definition string `json:"definition"`
	Columns    []int  `json:"columns"`
	Validated  bool   `json:"validated"` // every stored row satisfies it
}

// special reports whether the index is not a plain one, or serves a further purpose.
func (x *Index) special() bool { return x.Expressions || x.Partial || x.Identity }

// constraint returns the unique (u) or exclusion (x) constraint that the index implements, nil if there is none.
func (x *Index) constraint(kind string) *Constraint {
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
			found = append(found, fmt.Sprintf("foreign key %s of table %s", postgres.Identifier(c.Name), c.Table))
		}
	}
	return found
}

// covers reports whether the column, or an expression of it, is the only key of the index.
func (x *Index) covers(column string) bool { return x.Keys == 1 && mentions(x.Key, column) }

// onlyColumn reports whether c is the only plain column among several keys of the index. The others are expressions,
// which may have the same value in every row.
func (x *Index) onlyColumn(c *Column) bool {
	numbers := strings.Fields(x.Columns)
	numbers = numbers[:min(x.Keys, len(numbers))]
	number := strconv.Itoa(c.Number)
	return x.Keys > 1 && !slices.ContainsFunc(numbers, func(n string) bool { return n != "0" && n != number }) &&
		(slices.Contains(numbers, number) || mentions(x.Definition, c.Name))
}

// mentions reports whether a column stands in an index key or definition as PostgreSQL prints it.
func mentions(expression, column string) bool {
	words := strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(` "().,:[]`, r) })
	return slices.Contains(words, column)
}

// named reports whether the index has this name.
func (s State) named(x *Index, name string) bool {
	return slices.ContainsFunc(s.Relations, func(r Relation) bool { return r.OID == x.OID && r.Name == name })
}

// lacks reports whether nothing unique is left on the column of a fix.
func (s State) lacks(f Fix) bool {
	return s.Table != nil && s.Table.column(f.Column) != nil &&
		!slices.ContainsFunc(s.Table.Indexes, func(x *Index) bool { return x.Unique && x.covers(f.Column) })
}

// notYet reports whether Evolution's migrations have not yet created the column of a fix.
func (s State) notYet(f Fix) bool {
	return s.Table != nil && s.Table.column(f.Column) == nil && s.Migrations.Last != "" && s.Migrations.Last < f.Since
}

// Trigger describes one trigger of the table.
type Trigger struct {
	Name       string `json:"name"`
	Definition string `json:"definition"`
	Function   string `json:"function"` // its OID
	Type       int    `json:"type"`     // pg_trigger.tgtype
	Enabled    string `json:"enabled"`  // pg_trigger.tgenabled
	Plain      bool   `json:"plain"`    // no WHEN, no column list, no arguments, no transition tables
}

// Bits of pg_trigger.tgtype (PostgreSQL source, src/include/catalog/pg_trigger.h).
const (
	triggerRow    = 1
	triggerBefore = 2
	triggerInsert = 4
	triggerUpdate = 16
)

// fires reports whether the trigger is enabled for ordinary sessions.
func (t Trigger) fires() bool { return t.Enabled == "O" || t.Enabled == "A" }

// padTrigger returns the trigger of our name, nil if there is none.
func (s State) padTrigger() *Trigger {
	for i := range s.Triggers {
		if s.Triggers[i].Name == objectName {
			return &s.Triggers[i]
		}
	}
	return nil
}

// padded reports whether there is anything of the padding that revert would undo.
func (s State) padded() bool { return s.Function != nil || s.padTrigger() != nil }

// pads reports whether the padding trigger is there and enabled.
func (s State) pads() bool { return s.padTrigger() != nil && s.padTrigger().fires() }

// Function describes the function of our name in the schema.
type Function struct {
	OID      string   `json:"oid"`
	Owner    string   `json:"owner"`
	Body     string   `json:"body"`
	Settings []string `json:"settings"` // pg_proc.proconfig
	Plain    bool     `json:"plain"`    // of the kind that the program creates
	Comment  string   `json:"comment"`
	Trusted  bool     `json:"trusted"` // its owner can do whatever the table's owner can
	Users    []string `json:"users"`   // triggers of others that call it
}

// Keys counts the stored keys.
type Keys struct {
	Bare   int `json:"bare"`   // could end in exactly one space, and do not
	Spaced int `json:"spaced"` // end in one or more spaces
	Full   int `json:"full"`   // are so long that no space fits at their end

	Spaces map[string]int `json:"-"` // by the credential's id: the spaces at the end of its key; nil if they are not wanted
}

// Migrations is what Prisma's list says. It is zero if the list cannot be read.
type Migrations struct {
	Last       string // time stamp of the last one that is finished
	Unfinished int    // begun, neither finished nor rolled back
}
