package plan

// TableName is the table of Evolution API that holds the OpenAI credentials, one row for each instance.
const TableName = "OpenaiCreds"

// InstancesName is the table that holds the instances, each with an id and a name.
const InstancesName = "Instance"

// MigrationsName is the table in which Prisma records the migrations that it has applied.
const MigrationsName = "_prisma_migrations"

// ListColumns are those that are read of the list.
var ListColumns = []string{"migration_name", "finished_at", "rolled_back_at"}

// KeyColumn is the column that holds the keys. It is the only one that the padding is written for: its function names it.
const KeyColumn = "apiKey"

// InstanceColumn is the column that says which instance a credential is of.
const InstanceColumn = "instanceId"

// Prisma's advisory lock has the key 72707369, which `prisma migrate deploy` holds while it runs (prisma-engines,
// schema-engine, PostgreSQL connector). catalog.sql checks whether it is held; the program never acquires it.

// Fix is one thing that keeps instances from sharing a key, and how it is removed.
type Fix struct {
	Name   string // as in PATCH_FIXES
	Column string
	Index  string // the unique index that Evolution's migrations create on Column and that is dropped; "" for none
	Pad    bool   // every value of Column, which is KeyColumn, is stored with one space at its end
	Secret bool   // of a value of Column only the end is shown
	Hint   string // what to tell people who have not asked for the fix, "" for nothing
	Needs  string // the fix without which this one is of no use
	Since  string // time stamp of the migration that creates Column
	Auto   bool   // instances that share a key need it
}

// Fixes is the catalogue of what the program can do. A further index of the table to drop is a further row, in the order in which
// Evolution's migrations create the indexes: when the last one has been created, the guard ends.
var Fixes = []Fix{
	{Name: "apikey-index", Column: KeyColumn, Index: "OpenaiCreds_apiKey_key", Secret: true, Since: "20240718121437", Auto: true},
	{Name: "apikey-check", Column: KeyColumn, Pad: true, Secret: true, Needs: "apikey-index", Since: "20240718121437", Auto: true},
	{
		Name: "name-index", Column: "name", Index: "OpenaiCreds_name_key", Since: "20240722173259",
		Hint: `a credential's name must still differ from those in all other instances, or Evolution answers HTTP 500 "Error creating openai creds"; to lift that too, set PATCH_FIXES=auto,name-index`,
	},
}

// Columns are those that Evolution's migrations create in its table. Others are somebody's.
var Columns = []string{"id", "name", "apiKey", "createdAt", "updatedAt", "instanceId"}

// FirstMigration is the first of Evolution's.
const FirstMigration = "20240609181238_init"

// FirstChecking is the migration from which on the application itself refuses a key that another instance has.
const FirstChecking = "20250613143000"

// releases maps the last migration of a release, by its time stamp, to the releases that end with it. Read from
// Evolution's tags 2.2.0 to 2.4.0-rc2. A further release is a further row, in order.
var releases = []struct{ migration, span string }{
	{"20241017144950", "2.2.0"},
	{"20250116001415", "2.2.1-2.2.3"},
	{FirstChecking, "2.3.0-2.3.3"},
	{"20250918182355", "2.3.4-2.3.6"},
	{"20251122003044", "2.3.7"},
	{"20260506184850", "2.4.0-rc"},
}

// Release returns the releases of Evolution whose last migration has this time stamp, "" if that is unknown.
func Release(migration string) string {
	if migration == "" {
		return ""
	}
	span := "before 2.2.0"
	for _, r := range releases {
		if migration >= r.migration {
			span = r.span
		}
	}
	if beyondKnown(migration) {
		span += " or later"
	}
	return span
}

// beyondKnown reports whether a migration is younger than the youngest release above.
func beyondKnown(migration string) bool {
	return migration > releases[len(releases)-1].migration
}

// known reports whether the release is one of those above, or an earlier one: all of them have their unique indexes.
func (m Migrations) known() bool { return m.Last != "" && !beyondKnown(m.Last) }
