package patch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed inspect.sql
var inspectSQL string

//go:embed padding.sql
var paddingSQL string

//go:embed guard.sql
var guardSQL string

// State is what the database says of one schema at one moment.
type State struct {
	Schema    string     `json:"-"`    // the one that was asked for
	Role      string     `json:"role"` // who is asking
	Superuser bool       `json:"superuser"`
	Standby   bool       `json:"standby"`
	Migrating bool       `json:"migrating"` // Prisma's migration lock is held by somebody
	Guarded   bool       `json:"guarded"`   // there is a schema of the guard's name
	Table     *TableInfo `json:"table"`     // nil if there is none
	List      *TableInfo `json:"list"`      // Prisma's list of migrations, nil if there is none
	Indexes   []Index    `json:"indexes"`   // of the table
	Named     []Relation `json:"named"`     // whatever bears a name that matters here
	Grantees  []string   `json:"grantees"`  // to whom default privileges open what the role creates
	Padding
	Guard      *Guard     `json:"guard"` // nil if there is nothing of one
	Migrations Migrations `json:"-"`
	Keys       *Keys      `json:"-"` // nil if they were not read

	asked []question // what all this was read from, to be compared under the lock
}

// Padding is what padding.sql reads; all of it is zero without the table.
type Padding struct {
	Triggers         []Trigger `json:"triggers"`
	Function         *Function `json:"function"` // of our name, nil if there is none
	Rules            []string  `json:"rules"`
	Checks           []Check   `json:"checks"`
	ForeignKeys      []string  `json:"foreign_keys"` // that the column of the keys is part of
	Statistics       []string  `json:"statistics"`
	Children         []string  `json:"children"` // tables that inherit
	Replica          []string  `json:"replica"`  // for whom no ordinary trigger fires
	Nondeterministic bool      `json:"nondeterministic"`
}

// TableInfo describes a relation.
type TableInfo struct {
	OID       string   `json:"oid"`
	Kind      string   `json:"kind"` // pg_class.relkind
	Partition bool     `json:"partition"`
	Owner     string   `json:"owner"`
	Mine      bool     `json:"mine"`     // the role may alter it
	Hidden    bool     `json:"hidden"`   // row security would hide rows from the role
	Readable  bool     `json:"readable"` // the role may read every column
	Columns   []Column `json:"columns"`
}

// Column describes a column of a table.
type Column struct {
	Name      string `json:"name"`
	Number    int    `json:"number"`
	Type      string `json:"type"`
	Text      bool   `json:"text"`    // it is text or varchar
	BuiltIn   bool   `json:"builtin"` // its type is PostgreSQL's own
	Limit     int    `json:"limit"`   // characters that fit, 0 for any number
	Generated bool   `json:"generated"`
}

// column finds a column by its name, nil if there is none.
func (t *TableInfo) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// copies says whether COPY can be asked for these columns: it neither plans nor evaluates anything that an owner wrote,
// but there has to be such a table, and its rows have to be visible.
func (t *TableInfo) copies(columns ...string) bool {
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
}

// special says that the index is not a plain one, or that it serves a further purpose.
func (x Index) special() bool { return x.Expressions || x.Partial || x.Identity }

// constraint is the unique (u) or exclusion (x) constraint that the index implements, nil if there is none.
func (x Index) constraint(kind string) *Constraint {
	for i := range x.Constraints {
		if x.Constraints[i].Type == kind {
			return &x.Constraints[i]
		}
	}
	return nil
}

// dependants are the foreign keys that need the index.
func (x Index) dependants() (found []string) {
	for _, c := range x.Constraints {
		if c.Type == "f" {
			found = append(found, fmt.Sprintf("foreign key %s of table %s", quote(c.Name), c.Table))
		}
	}
	return found
}

// alone says whether the column is the only plain column among several keys of the index, the others being expressions:
// they may be the same in every row.
func (x Index) alone(c *Column) bool {
	numbers := strings.Fields(x.Columns)
	numbers = numbers[:min(x.Keys, len(numbers))]
	return x.Keys > 1 && !slices.ContainsFunc(numbers, func(n string) bool { return n != "0" && n != strconv.Itoa(c.Number) }) &&
		(slices.Contains(numbers, strconv.Itoa(c.Number)) || mentions(x.Definition, c.Name))
}

// named says whether the index bears this name.
func (s State) named(x Index, name string) bool {
	return slices.ContainsFunc(s.Named, func(r Relation) bool { return r.OID == x.OID && r.Name == name })
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

// Bits of pg_trigger.tgtype (src/include/catalog/pg_trigger.h).
const (
	triggerRow    = 1
	triggerBefore = 2
	triggerInsert = 4
	triggerUpdate = 16
)

// fires says whether the trigger is enabled for ordinary sessions.
func (t Trigger) fires() bool { return t.Enabled == "O" || t.Enabled == "A" }

// Function describes the function of our name in the schema.
type Function struct {
	OID      string   `json:"oid"`
	Owner    string   `json:"owner"`
	Body     string   `json:"body"`
	Settings []string `json:"settings"` // pg_proc.proconfig
	Plain    bool     `json:"plain"`    // of the kind that plan creates
	Comment  string   `json:"comment"`
	Trusted  bool     `json:"trusted"` // its owner can do whatever the table's owner can
	Users    []string `json:"users"`   // triggers of others that call it
}

// Keys counts the stored keys.
type Keys struct {
	Bare   int // could end in exactly one space, and do not
	Spaced int // end in a space, or in several
	Full   int // are so long that no space fits behind them

	Spaces map[string]int // by the credential's id: the spaces behind its key, if that is to be kept
}

// Migrations is what Prisma's list says; it is zero if that cannot be read.
type Migrations struct {
	Last       string // time stamp of the last finished one
	Unfinished int    // begun, neither finished nor rolled back
}

// Relation is anything that bears a name of interest.
type Relation struct {
	OID  string `json:"oid"`
	Name string `json:"name"`
	Kind string `json:"kind"` // pg_class.relkind
}

// question is a query to the catalog with the slot for its answer.
type question struct {
	sql    string
	answer *[]byte
}

// ask adds one of the SQL files to the batch, for one schema.
func (b *batch) ask(file, schema string) question {
	sql := forSchema(file, schema)
	return question{sql, b.read(sql)}
}

// forSchema fills in what stands in psql's notation for a quoted value.
func forSchema(file, schema string) string {
	names := []string{Table, migrationList}
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	return strings.NewReplacer(":'schema'", literal(schema), ":'guard'", literal(guardName(schema)),
		":'names'", literal("{"+strings.Join(names, ",")+"}")).Replace(file)
}

// inspect adds the questions that describe the table and the padding, and those about the guard where they are wanted.
func (b *batch) inspect(schema string, guard bool) []question {
	questions := []question{b.ask(inspectSQL, schema), b.ask(paddingSQL, schema)}
	if guard {
		questions = append(questions, b.ask(guardSQL, schema))
	}
	return questions
}

// unchanged adds a statement that fails where the catalog does not say what it said when s was read. Behind it, a plan
// made from s is right for as long as the lock is held.
func (b *batch) unchanged(s State) {
	for _, q := range s.asked {
		b.exec("SELECT 1 / CASE WHEN coalesce((" + q.sql + "), '') = " + literal(string(*q.answer)) + " THEN 1 ELSE 0 END")
	}
}

// staleCode is the SQLSTATE of that failure, division_by_zero; nothing else in a batch divides.
const staleCode = "22012"

// read adds the answers to the State.
func (s *State) read(questions []question) error {
	for _, q := range questions {
		s.asked = append(s.asked, q)
		if len(*q.answer) == 0 {
			continue // no such table, or no guard
		}
		if err := json.Unmarshal(*q.answer, s); err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
	}
	for _, x := range s.Indexes {
		if x.Definition == "" { // what prints it sees the present, not the snapshot
			return &notReadyError{why: "an index was dropped while it was looked at"}
		}
	}
	slices.SortFunc(s.Indexes, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
	return nil
}
