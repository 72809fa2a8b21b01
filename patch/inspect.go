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

// inspect reads the States of some schemas in two round trips: the first asks the catalog what there is, of which types and
// readable by whom; the second reads rows, and only of what the first found to be an ordinary, readable table. Where there
// is nothing to read, the second is left out.
func (c *Config) inspect(ctx context.Context, conn *postgres.Conn, schemas ...string) ([]State, error) {
	states := make([]State, len(schemas))
	var pointers []*State
	for i, schema := range schemas {
		states[i].Schema = schema
		pointers = append(pointers, &states[i])
	}
	padding := c.Fixes.mayPad() || c.BackupDir != ""
	err := c.read(ctx, conn, func(b *postgres.Batch) bool {
		askCatalog(b, pointers, inspectSQL)
		if padding {
			askCatalog(b, pointers, paddingSQL)
		}
		return true
	})
	for _, s := range pointers {
		if err == nil {
			err = s.complete()
		}
	}
	if err != nil {
		return nil, err
	}
	err = c.read(ctx, conn, func(b *postgres.Batch) (any bool) {
		for _, s := range pointers {
			any = c.askRows(b, s) || any
		}
		return any
	})
	if err != nil || padding {
		return states, err
	}
	return states, c.read(ctx, conn, func(b *postgres.Batch) bool { // for a warning
		checking := slices.DeleteFunc(pointers, func(s *State) bool { return s.Migrations.Last < firstChecking })
		askCatalog(b, checking, paddingSQL)
		return len(checking) > 0
	})
}

// read sends the queries that ask adds, if it reports that there are any.
func (c *Config) read(ctx context.Context, conn *postgres.Conn, ask func(*postgres.Batch) bool) error {
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ ONLY", c.limits())
	if !ask(b) {
		return nil
	}
	b.Exec("COMMIT")
	return conn.Send(ctx, b, c.ConnectTimeout.Duration)
}

// askRows adds what is read of rows for s, and what only some schemas need of the catalog. It reports whether that is
// anything.
func (c *Config) askRows(b *postgres.Batch, s *State) bool {
	if s.Guarded {
		askCatalog(b, []*State{s}, guardSQL)
	}
	creates := s.Table != nil && c.Fixes.mayPad() && !s.padded() || s.Table == nil && c.OnMissingTable == MissingGuard
	if creates {
		b.Rows(granteesSQL, func(row []byte) error { return json.Unmarshal(row, &s.Grantees) })
	}
	readMigrations(b, s)
	if s.Table != nil && c.Fixes.mayPad() {
		s.Keys = readKeys(b, *s, !s.padded()) // the spaces that keys end in before the padding are to be kept
	}
	return creates || s.Table != nil || s.List != nil || s.Guarded
}

// granteesSQL lists to whom the default privileges of the role open what it creates.
const granteesSQL = `SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.pg_get_userbyid(x.grantee)), '[]')::pg_catalog.text
	FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) x
	WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = current_user AND d.defaclobjtype IN ('f', 'n') AND x.grantee NOT IN (0, d.defaclrole)`

// answer is what the catalog said to the query of an SQL file.
type answer struct {
	file string
	text string // "" for no row
}

// askCatalog adds the queries of SQL files for all of the states at once. The answers are decoded as they arrive.
func askCatalog(b *postgres.Batch, states []*State, files ...string) {
	for _, file := range files {
		for _, s := range states {
			s.answers = append(s.answers, answer{file: file})
		}
		b.Rows(forSchemas(file, states...), func(row []byte) error {
			var document struct{ Schema string }
			if err := json.Unmarshal(row, &document); err != nil {
				return fmt.Errorf("read the catalog: %w", err)
			}
			for _, s := range states {
				if s.Schema == document.Schema {
					s.answer(file).text = string(row)
					return json.Unmarshal(row, s)
				}
			}
			return nil
		})
	}
}

// answer returns the answer to an SQL file.
func (s *State) answer(file string) *answer {
	for i := range s.answers {
		if s.answers[i].file == file {
			return &s.answers[i]
		}
	}
	return &answer{}
}

// forSchemas replaces the placeholders of an SQL file, which have psql's notation for a quoted value.
func forSchemas(file string, states ...*State) string {
	var schemas, guards []string
	for _, s := range states {
		schemas, guards = append(schemas, s.Schema), append(guards, guardName(s.Schema))
	}
	names := []string{tableName, migrationsName}
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	return strings.NewReplacer(":'schemas'", postgres.Array(schemas), ":'guards'", postgres.Array(guards), ":'names'", postgres.Array(names)).Replace(file)
}

// complete makes of the relations what has a name of its own in the State.
func (s *State) complete() error {
	s.Table, s.List = s.relation(tableName), s.relation(migrationsName)
	if s.Table == nil {
		return nil
	}
	for _, x := range s.Table.Indexes {
		if x.Definition == "" { // the functions that print it see the present, not the snapshot
			return &postgres.NotReadyError{Reason: "an index was dropped while it was inspected"}
		}
	}
	slices.SortFunc(s.Table.Indexes, func(a, b *Index) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// requireUnchanged adds a statement for each of these SQL files that fails where the catalog no longer says what it said when
// s was read. After it, a plan made from s is right for as long as the lock is held.
func requireUnchanged(b *postgres.Batch, s State, files ...string) {
	for _, file := range files {
		b.Exec("SELECT 1 / CASE WHEN coalesce((" + forSchemas(file, &s) + "), '') = " + postgres.Literal(s.answer(file).text) + " THEN 1 ELSE 0 END")
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
	b.Rows(postgres.CopyTo(s.Schema, tableName, "id", "apiKey"), func(row []byte) error {
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

// readMigrations adds the statement that reads Prisma's list into s, if that can be read.
func readMigrations(b *postgres.Batch, s *State) {
	columns := []string{"migration_name", "finished_at", "rolled_back_at"}
	if !s.List.canCopy(columns...) {
		return
	}
	b.Rows(postgres.CopyTo(s.Schema, migrationsName, columns...), func(row []byte) error {
		name, rest, _ := bytes.Cut(row, []byte("\t"))
		switch finished, rolledBack, _ := strings.Cut(strings.TrimSuffix(string(rest), "\n"), "\t"); {
		case rolledBack != `\N`:
		case finished == `\N`:
			s.Migrations.Unfinished++
		default:
			s.Migrations.Last = max(s.Migrations.Last, string(timeStamp.Find(name)))
		}
		return nil
	})
}
