package http

// startBackup begins a backup to the folder that the server's operator configured; no request names a folder.
func (s *Server) startBackup(r *request) (reply, error) {
	if err := r.operatorOnly(); err != nil {
		return reply{}, err
	}
	if err := r.decodeOptional(nil); err != nil {
		return reply{}, err
	}
	if err := s.engine.StartBackup(r.ctx); err != nil {
		return reply{}, err
	}
	status, err := s.engine.BackupStatus(r.ctx)
	return reply{status: 202, value: status}, err
}

// backupStatus says what backups do.
func (s *Server) backupStatus(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	if err := r.operatorOnly(); err != nil {
		return reply{}, err
	}
	status, err := s.engine.BackupStatus(r.ctx)
	return reply{status: 200, value: status}, err
}

// operatorOnly refuses what is of all tenants to keys that are of one.
func (r *request) operatorOnly() error {
	if r.key.Operator {
		return nil
	}
	return fail(codeForbidden, "a backup holds every tenant: only an operator's key may do this")
}
