package plan

import (
	"fmt"
	"strconv"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// Warnings says why Evolution's next start, or a later migration, will fail, as far as the state shows it. None of this is the
// program's to mend.
func Warnings(s State) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if s.Migrations.Unfinished > 0 && !s.Migrating {
		add("a migration has failed or was interrupted: %s; unless it is running at this moment, Evolution's next prisma migrate deploy ends with P3009, and Evolution does not start: look into Evolution's log for the cause and mend it, then run npx prisma migrate resolve --rolled-back NAME (or --applied, if all that it was to do is done) in Evolution's container; docs/reference.md#upgrades has the steps, also in SQL",
			s.Migrations.UnfinishedNames())
	}
	if s.Table != nil && s.List == nil {
		add("table %s is there, and Prisma's list of migrations, %s, is not, as after a dump that was restored without it, or prisma db push: Evolution's next prisma migrate deploy ends with P3005, and Evolution does not start; restore the list from the dump, or run npx prisma migrate resolve --applied NAME in Evolution's container for each migration that the tables have; if Evolution is run with db push, do nothing",
			s.QualifiedTable(), quote.Qualified(s.Schema, MigrationsName))
	}
	if s.Keys != nil && s.Keys.Repeated > 0 {
		add(`credentials that repeat a key of their own instance: %d (of instance %q); if a later migration makes the key unique within an instance, it fails: docs/upgrades.md, "Two credentials of one instance with one key", has the SQL that finds and changes them`,
			s.Keys.Repeated, s.Keys.RepeatedIn)
	}
	return all
}

// UnfinishedNames returns the names of the unfinished migrations, for a message.
func (m Migrations) UnfinishedNames() string {
	var quoted []string
	for _, name := range m.Names {
		quoted = append(quoted, strconv.Quote(name))
	}
	text := strings.Join(quoted, ", ")
	if more := m.Unfinished - len(m.Names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
