package pgtest

// What tests of behaviour must know of the wording, to tell one message from another. Whatever else a message says is in
// test/project/testdata/messages.golden, of which each of these is a part.

// It waits, or has waited.
const (
	WaitsForServer      = "waiting for PostgreSQL"
	WaitsForMigration   = "waiting for a migration of Evolution's"
	IsStandby           = "the server is a standby"
	MigrationRuns       = "a migration of Evolution's is running"
	MigrationMayCreate  = "a migration is running that may create the table"
	MigrationUnfinished = "a migration was begun and has not finished"
	TableInUse          = "the table is in use"
	GaveUp              = "gave up after PATCH_WAIT_TIMEOUT="
	StayedInUse         = "stayed in use for PATCH_LOCK_RETRY="
	HiddenTime          = "a time hidden from this role" // since when a lock is held
	InterruptedBy       = "interrupted ("
)

// It cannot connect.
const (
	UnknownHost     = "is not known: it must be the name of PostgreSQL's service" // after the host name
	NoNameserver    = "could not be looked up: the nameservers do not answer"     // after the host name
	IsContainer     = "inside a container, localhost is the container itself"
	DatabaseLocked  = " holds a lock on database " // after the process ID
	NoAnswer        = "the server does not answer"
	SlowLogin       = "the login was not complete in time"
	ServerClosed    = "the server closed the connection"
	ConnectionLost  = "the connection was lost " // how often
	NotPostgreSQL   = "does not speak PostgreSQL's protocol"
	CannotTake      = "the server cannot take a connection now: " // why
	OffersNoTLS     = "the server offers no TLS: remove sslmode=require"
	MountCA         = "mount the certificate of its CA"
	NegativeSerial  = "negative serial number"
	AsksForKerberos = "the server asks for Kerberos"
	NoTLSHere       = "has no TLS, which another connection to the same hosts had" // after the address
	NotVerified     = "certificate does not verify"
	BadIdentity     = "the file with the client identity cannot be used"
	WrongPassword   = "user or password is wrong"
	NotTested       = "this version of the program was not tested with this major of PostgreSQL"
	MayNotConnect   = "grant the role CONNECT on the database"
	WeakMode        = "goes only with sslmode=verify-full" // after sslrootcert=system
	PasswordHolds   = "the password holds "                // what stands there for a variable
	WriteEncoded    = "write @ in the password as %40 and % as %25"
	NothingListens  = "connection refused: nothing listens on port " // which one
	WantsTLS        = "take sslmode=disable out of the connection string"
	NameOfTenant    = "the user name of a Supabase pooler"
	NameOfEndpoint  = "begins with the ID of its endpoint"
)

// There is no table.
const (
	NotThere             = "does not exist" // after a name
	FirstStart           = "if Evolution runs already, the name in the connection string is wrong"
	IsElsewhere          = "the table exists in schema " // that schema
	OnceMore             = "once more"                   // the advice to run the program again
	OnceMoreLater        = "run this once more after Evolution has started"
	GuardWouldBe         = "so the guard would be installed"
	NoGuard              = "no guard can be installed: "
	GuardNeedsName       = "it needs the name of the schema"
	StillGuarded         = "still guarded: "
	NothingOfEvolutions  = "and nothing of Evolution's" // in the schema
	OfAnotherApplication = "holds the migrations of another application"
	CannotReadList       = " cannot read "                     // Prisma's list
	KeptTheGuard         = "kept the event trigger of schema " // that schema
	GuardOfAnother       = "holds the guard of another schema"
	HoldsFunction        = "holds a function "
	HoldsAnother         = "holds what this program did not make: "
	GuardLeft            = "a guard that another role installed is left"
	NoApplication        = "no application has tables in schema "
)

// The schema is refused.
const (
	IsRefused         = "refused, and nothing was changed: "
	NoColumn          = "has no column "
	SomethingElse     = "it is something else" // under the name of an index
	DifferentThing    = "as a different thing than an index of "
	OnPurpose         = "somebody made it on purpose"
	IsPartition       = "is a partition of another table"
	IsReplicaIdentity = "is the replica identity of "
	MayForbidSecond   = "may forbid a second row"
	OfType            = "is of type " // the column of the keys
	IsReplica         = "session_replication_role is replica "
	HiddenRows        = "row security hides rows"
	SortsBefore       = "rename it to one that sorts before "
	ConnectAs         = "connect as "
	SharedValue       = "credentials share a value"
	Listed            = " stays in credential " // the id
	ChangedIn         = " and changes in "      // those of others
	Untried           = "no stored key shows whether"
)

// The change fails.
const (
	MayNotChange  = "may not change table"
	MayNotRead    = "may not read table"
	OnOlder       = ", or before PostgreSQL 16 " // that statement
	DoesNotUse    = "without using its rights: " // what a member does of the owner's role
	HiddenCatalog = "what every role may read of PostgreSQL's catalog"
	Undone        = "what may have undone it: "
	TakesTooLong  = "the change takes longer than this program allows; set PATCH_CONNECT_TIMEOUT"
)

// The report, and what the log says besides it.
const (
	PaddedKeys      = "padded keys: "
	NotInPlace      = "the fix is not in place"
	NoTrigger       = "no padding trigger"
	NotKept         = "no index has the name "
	LeftAlone       = "Evolution may have lifted the uniqueness itself"
	UnpaddedKeys    = "keys without the space: " // how many
	NotEnough       = "dropping the index is not enough"
	BackedUp        = "backed up"
	NotWritten      = "not written: " // a line of the report
	StandardOutput  = "standard output: "
	OneWithoutTable = "1 database without the table"
	WithoutTable    = "databases without the table"
	OneKeptOut      = "1 database that this role may not connect to"
	SeveralKeptOut  = "databases that this role may not connect to" // how many
	KeptOutOfAll    = "this role may connect to none of the databases that PATCH_DATABASES finds"
	NoneMatches     = "no database matches"
	UnknownArgument = "unknown argument"
)

// What lies ahead of Evolution.
const (
	MigrationFailed = "a migration has failed or was interrupted: " // its name
	WithoutList     = "ends with P3005"
	RepeatedKeys    = "credentials that repeat a key of their own instance: " // how many
)

// The course of a watch.
const (
	Connected      = "connected"
	WatchConnected = "a watch is connected that will apply the fixes again: " // the process IDs
	Watching       = "watching"
	TooSlow        = "a look takes longer than PATCH_WATCH"
	StateChanged   = "the state has changed"
	LeftOut        = "a database that was found is left out"
	DatabaseGone   = "the database is not found any more"
)
