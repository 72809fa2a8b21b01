package postgres

// SQLSTATEs by their condition names (PostgreSQL documentation, PostgreSQL Error Codes).
const (
	DependentObjectsStillExist        = "2BP01"
	DuplicateFunction                 = "42723"
	DuplicateObject                   = "42710"
	DuplicateSchema                   = "42P06"
	InsufficientPrivilege             = "42501"
	InternalError                     = "XX000"
	InvalidAuthorizationSpecification = "28000"
	InvalidPassword                   = "28P01"
	InvalidSchemaName                 = "3F000"
	QueryCanceled                     = "57014"
	RaiseException                    = "P0001"
	ReadOnlySQLTransaction            = "25006"
	SerializationFailure              = "40001"
	TooManyConnections                = "53300"
	UndefinedColumn                   = "42703"
	UndefinedObject                   = "42704"
	UndefinedTable                    = "42P01"
	UniqueViolation                   = "23505"

	deadlockDetected   = "40P01"
	divisionByZero     = "22012"
	idleSessionTimeout = "57P05"
	invalidCatalogName = "3D000"
	lockNotAvailable   = "55P03"
	protocolViolation  = "08P01"
	transactionTimeout = "25P04"
)
