# SPDX-License-Identifier: BSD-3-Clause
# A disk that fails under a running daemon, made by strace: chosen calls on chosen files of its directory.
package Hearth::Failing;
use strict;
use warnings;
use Exporter 'import';
use Hearth::Process qw(scratch_dir slurp spawn reap wait_until);

our @EXPORT_OK = qw($writes $syncs $changes break_calls mend logs);

our $writes = 'write,writev,pwrite64,pwritev';
our $syncs = 'fsync,fdatasync';
our $changes = "$writes,fallocate,$syncs";

# From now on these calls on files whose names match fail so. Names may be of files to come.
sub break_calls
{
	my ($daemon, $calls, $error, @names) = @_;
	my $dir = scratch_dir();
	my @paths = map { ('-P', $daemon->dir . "/$_") } @names;
	my $pid = spawn(['strace', '-f', '-y', '-o', "$dir/trace", @paths, '-e', "trace=$changes", '-e',
		"inject=$calls:error=$error", '-p', $daemon->pid], err => "$dir/err");
	wait_until('strace to attach', sub { -e "$dir/err" && slurp("$dir/err") =~ /attached/ });
	select undef, undef, undef, 0.2;
	return { pid => $pid, trace => "$dir/trace" };
}

sub mend { my ($broken) = @_; kill 'TERM', $broken->{pid}; return reap($broken->{pid}, 30); }
sub logs { my ($from, $to) = @_; return map { sprintf 'log-%010d', $_ } $from .. $to; }

1;
