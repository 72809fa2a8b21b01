package patch

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Rows are read by COPY of named columns alone. It plans nothing and evaluates nothing: a mere SELECT would fold the
// expressions of an owner's indexes and statistics, and so run an owner's functions with the rights of the reader.

// copySQL is the COPY of some columns of a table.
func copySQL(schema, table string, columns ...string) string {
	return fmt.Sprintf("COPY %s (%s) TO STDOUT", qualified(schema, table), quoteAll(columns))
}

// copyEscapes undoes what COPY's text format does to a value (PostgreSQL documentation, COPY, text format).
var copyEscapes = strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v")

// values takes a row of COPY apart; NULL is nil.
func values(row []byte) []*string {
	var found []*string
	for field := range bytes.SplitSeq(bytes.TrimSuffix(row, []byte("\n")), []byte("\t")) {
		if string(field) == `\N` {
			found = append(found, nil)
			continue
		}
		value := copyEscapes.Replace(string(field))
		found = append(found, &value)
	}
	return found
}

// keys adds the count of the stored keys to the batch, nil where they cannot be read.
func (b *batch) keys(s State) *Keys {
	if !s.Table.copies("id", "apiKey") {
		return nil
	}
	k, limit := new(Keys), s.Table.column("apiKey").Limit
	b.copyOut(copySQL(s.Schema, Table, "id", "apiKey"), func(row []byte) error {
		v := values(row)
		if v[0] == nil || v[1] == nil {
			return nil
		}
		k.count(*v[1], limit)
		if spaces := len(*v[1]) - len(strings.TrimRight(*v[1], " ")); spaces > 0 && k.Spaces != nil {
			k.Spaces[*v[0]] = spaces
		}
		return nil
	})
	return k
}

// count adds one key of a column for so many characters, 0 for any number.
func (k *Keys) count(key string, limit int) {
	padded := strings.TrimRight(key, " ") + " "
	switch {
	case key == padded:
	case limit == 0 || utf8.RuneCountInString(padded) <= limit:
		k.Bare++
	default:
		k.Full++
	}
	if strings.HasSuffix(key, " ") {
		k.Spaced++
	}
}

// migrationList is the table in which Prisma notes what it has migrated.
const migrationList = "_prisma_migrations"

var timeStamp = regexp.MustCompile(`^[0-9]{14}`)

// migrations adds what Prisma's list says to the batch.
func (b *batch) migrations(s State) *Migrations {
	m := new(Migrations)
	columns := []string{"migration_name", "finished_at", "rolled_back_at"}
	if !s.List.copies(columns...) {
		return m
	}
	b.copyOut(copySQL(s.Schema, migrationList, columns...), func(row []byte) error {
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
