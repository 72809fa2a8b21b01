// Package postgres holds what is true of any PostgreSQL server: how a connection is configured and made, how statements
// travel and answers come back, and which errors a retry helps against.
package postgres
