package patch

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"evolution-openai-patch/patch/postgres"
)

//go:embed inspect.sql
var inspectSQL string

//go:embed padding.sql
var paddingSQL string

//go:embed guard.sql
var guardSQL string

// inspect reads the State of a schema in two round trips: the first asks the catalog what there is, of which types and
// readable by whom; the second reads rows, and only of what the first found to be an ordinary, readable table. Where there
// is nothing to read, the second is left out.
func (c *Config) inspect(ctx context.Context, conn *postgres.Conn, schema string) (State, error) {
	s := State{Schema: schema}
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ ONLY", c.limits())
	answers := askCatalog(b, schema, false)
	b.Exec("COMMIT")
	if err := conn.Send(ctx, b, c.ConnectTimeout.Duration); err != nil {
		return s, err
	}
	if err := s.decode(answers); err != nil || s.Table == nil && s.List == nil && !s.Guarded {
		return s, err
	}
	return s, c.inspectRows(ctx, conn, &s)
}

// inspectRows adds to s what is read of rows, and what there is of a guard.
func (c *Config) inspectRows(ctx context.Context, conn *postgres.Conn, s *State) error {
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ ONLY", c.limits())
	var answers []answer
	if s.Guarded {
		answers = append(answers, ask(b, guardSQL, s.Schema))
	}
	migrations := readMigrations(b, *s)
	if s.Table != nil && c.Fixes.mayPad() {
		s.Keys = readKeys(b, *s, !s.padded()) // the spaces that keys end in before the padding are to be kept
	}
	b.Exec("COMMIT")
	if err := conn.Send(ctx, b, c.ConnectTimeout.Duration); err != nil {
		return err
	}
	s.Migrations = *migrations
	return s.decode(answers)
}

// answer is a query to the catalog with the slot for what it returns.
type answer struct {
	sql  string
	slot *postgres.Slot
}

// ask adds the query of an SQL file, for one schema.
func ask(b *postgres.Batch, file, schema string) answer {
	sql := forSchema(file, schema)
	return answer{sql, b.Read(sql)}
}

// askCatalog adds the queries that describe the table and the padding, and where they are wanted those of the guard.
func askCatalog(b *postgres.Batch, schema string, guard bool) []answer {
	answers := []answer{ask(b, inspectSQL, schema), ask(b, paddingSQL, schema)}
	if guard {
		answers = append(answers, ask(b, guardSQL, schema))
	}
	return answers
}

// forSchema replaces the placeholders of an SQL file, which have psql's notation for a quoted value.
func forSchema(file, schema string) string {
	names := []string{tableName, migrationsName}
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	return strings.NewReplacer(":'schema'", postgres.Literal(schema), ":'guard'", postgres.Literal(guardName(schema)),
		":'names'", postgres.Literal("{"+strings.Join(names, ",")+"}")).Replace(file)
}

// decode adds the answers to s.
func (s *State) decode(answers []answer) error {
	s.answers = append(s.answers, answers...)
	for _, a := range answers {
		if len(a.slot.Bytes()) == 0 {
			continue // no such table, or no guard
		}
		if err := json.Unmarshal(a.slot.Bytes(), s); err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
	}
	for _, x := range s.Indexes {
		if x.Definition == "" { // the functions that print it see the present, not the snapshot
			return &postgres.NotReadyError{Reason: "an index was dropped while it was inspected"}
		}
	}
	slices.SortFunc(s.Indexes, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// requireUnchanged adds a statement for each answer that fails where the catalog no longer says the same. After it, a plan
// made from these answers is right for as long as the lock is held.
func requireUnchanged(b *postgres.Batch, answers []answer) {
	for _, a := range answers {
		b.Exec("SELECT 1 / CASE WHEN coalesce((" + a.sql + "), '') = " + postgres.Literal(string(a.slot.Bytes())) + " THEN 1 ELSE 0 END")
	}
}

// changedCode is the SQLSTATE of that failure, division_by_zero. Nothing else in a batch divides.
const changedCode = "22012"

// errSchemaChanged is what the program makes of it.
var errSchemaChanged = &postgres.NotReadyError{Reason: "the schema was changed by somebody else at the same moment"}

// readKeys adds the statement that counts the stored keys, and returns where the count will be, nil if they cannot be read.
func readKeys(b *postgres.Batch, s State, spaces bool) *Keys {
	if !s.Table.canCopy("id", "apiKey") {
		return nil
	}
	k, limit := new(Keys), s.Table.column("apiKey").Limit
	if spaces {
		k.Spaces = map[string]int{}
	}
	b.Copy(postgres.CopyTo(s.Schema, tableName, "id", "apiKey"), func(row []byte) error {
		values := postgres.CopyValues(row)
		if id, key := values[0], values[1]; id != nil && key != nil {
			k.count(*id, *key, limit)
		}
		return nil
	})
	return k
}

// count adds the key of one credential. The column takes so many characters, or any number if limit is 0.
func (k *Keys) count(id, key string, limit int) {
	bare := strings.TrimRight(key, " ")
	spaces := len(key) - len(bare)
	switch {
	case spaces == 1:
	case limit == 0 || utf8.RuneCountInString(bare) < limit:
		k.Bare++
	default:
		k.Full++
	}
	if spaces > 0 {
		k.Spaced++
		if k.Spaces != nil {
			k.Spaces[id] = spaces
		}
	}
}

// countKeys adds a query for the same counts, for the moment in which the table is locked and none of its owner's code can run
// in a query. A COPY of many rows to a client that stalls would keep the lock.
func countKeys(b *postgres.Batch, s State) *postgres.Slot {
	fits := "true"
	if limit := s.Table.column("apiKey").Limit; limit > 0 {
		fits = fmt.Sprintf(`length(rtrim("apiKey", ' ')) < %d`, limit)
	}
	return b.Read(fmt.Sprintf(`SELECT pg_catalog.json_build_object(
		'bare', count(*) FILTER (WHERE "apiKey" <> rtrim("apiKey", ' ') || ' ' AND %[1]s),
		'full', count(*) FILTER (WHERE "apiKey" <> rtrim("apiKey", ' ') || ' ' AND NOT %[1]s),
		'spaced', count(*) FILTER (WHERE "apiKey" LIKE '%% '))::pg_catalog.text FROM ONLY %[2]s`, fits, s.table()))
}

// timeStamp matches the beginning of the name of a migration.
var timeStamp = regexp.MustCompile(`^[0-9]{14}`)

// readMigrations adds the statement that reads Prisma's list, and returns where the result will be.
func readMigrations(b *postgres.Batch, s State) *Migrations {
	m := new(Migrations)
	columns := []string{"migration_name", "finished_at", "rolled_back_at"}
	if !s.List.canCopy(columns...) {
		return m
	}
	b.Copy(postgres.CopyTo(s.Schema, migrationsName, columns...), func(row []byte) error {
		name, rest, _ := bytes.Cut(row, []byte("\t"))
		switch finished, rolledBack, _ := strings.Cut(strings.TrimSuffix(string(rest), "\n"), "\t"); {
		case rolledBack != `\N`:
		case finished == `\N`:
			m.Unfinished++
		default:
			m.Last = max(m.Last, string(timeStamp.Find(name)))
		}
		return nil
	})
	return m
}
