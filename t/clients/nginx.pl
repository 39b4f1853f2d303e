# SPDX-License-Identifier: BSD-3-Clause
# nginx's memcached_pass: nginx.pl CLIENT HALF PORT. It only reads; what it reads is stored by a client of text. The halves
# and what they print: ../lib/Hearth/Matrix.pm.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Process qw(scratch_dir spew);
use IO::Socket::UNIX;

my (undef, $half, $port) = @ARGV;
my $client = Hearth::Client->new(port => $port);
my $dir = scratch_dir();
my $socket = "$dir/nginx.sock";
spew("$dir/nginx.conf", <<"C");
daemon off; master_process off; pid $dir/pid; error_log $dir/error.log;
events { worker_connections 64; }
http {
	access_log off; client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fast;
	uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
	server { listen unix:$socket; location / { set \$memcached_key \$uri; memcached_pass 127.0.0.1:$port; } }
}
C
my $pid = fork // die "fork: $!\n";
if (!$pid) {
	exec '/usr/sbin/nginx', '-c', "$dir/nginx.conf", '-e', "$dir/error.log" or exit 127;
}
END { kill 'TERM', $pid if $pid; waitpid $pid, 0 if $pid; }

# The body, or the number of an error.
sub http
{
	my ($path) = @_;
	my $s;
	for (1 .. 200) {
		$s = IO::Socket::UNIX->new(Peer => $socket) and last;
		select undef, undef, undef, 0.02;
	}
	print {$s} "GET $path HTTP/1.0\r\n\r\n";
	local $/;
	my $answer = <$s>;
	my ($code) = $answer =~ m{^HTTP/1\.[01] (\d+)};
	return $code == 200 ? $answer =~ s/^.*?\r\n\r\n//sr : $code;
}

sub tell_of
{
	my ($feature, @checks) = @_;
	while (my ($what, $got, $expected) = splice @checks, 0, 3) {
		print("$feature\t$what: got '$got', expected '$expected'\n"), return if $got ne $expected;
	}
	print "$feature\tok\n";
	return;
}

if ($half eq 'store') {
	$client->set('/page', '<html>');
	$client->set('/big', 'B' x 700_000);
	$client->set('/later', 'x', exptime => 100);
	tell_of('set', get => http('/page'), '<html>', miss => http('/none'), 404);
	tell_of('big', get => length http('/big'), 700_000);
} elsif ($half eq 'read') {
	tell_of('kill -9', get => http('/page'), '<html>', big => length http('/big'), 700_000, later => http('/later'), 'x');
} else {
	tell_of('expiry', later => http('/later'), 404, ever => http('/page'), '<html>');
}
