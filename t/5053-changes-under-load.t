#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Options change while clients write, read and ask for everything there is to ask: no answer is other than it would be, nothing
# is lost, and no thread reads what another one writes (which a sanitizer of threads tells).
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Http qw(get);
use Hearth::Load;
use Hearth::Process qw(program reap run scratch_dir spew);
use POSIX ();
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $scratch = scratch_dir();
my $http = Hearth::Daemon::free_port();
spew("$scratch/nodes$_", "$_\nlocalhost|127.0.0.1|11222\n") for 1, 2;

# Each option, what it becomes meanwhile and what it is afterwards; none of it makes a client's answer another one.
my @changes = (
	[verbose => 1, 0], ['memory-limit' => 80, 64], ['disable-evictions' => 'yes', 'no'], ['conn-limit' => 900, 1024],
	['max-reqs-per-event' => 2, 20], ['listen-backlog' => 64, 1024], [extended => 'idle_timeout=100', 'idle_timeout=0'],
	['disable-dumping' => 'yes', 'no'], ['disable-watch' => 'yes', 'no'], ['enable-shutdown' => 'yes', 'no'],
	[fsync => 'os', 'always'], ['snapshot-interval' => 1, 0], ['snapshot-log-ratio' => 50, 0], ['snapshot-rate' => 100, 64],
	['max-disk' => '1g', 0], [keep => 2, 1], ['keep-days' => 1, 0], ['persist-min-ttl' => 1, 0], ['max-downtime' => 100, 0],
	['on-disk-error' => 'serve', 'refuse'], ['scrub-interval' => 1, 0], ['cluster-file' => "$scratch/nodes1", "$scratch/nodes2"],
	['log-file' => "$scratch/log1", "$scratch/log2"], ['log-format' => 'json', 'text'], [http => 'none', "127.0.0.1:$http"],
);

my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 4, '--http', "127.0.0.1:$http", '--log-file', "$scratch/log"]);

# Asks until it is killed, and looks at no answer: others do.
sub asker
{
	my (@questions) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	Hearth::Process::die_with_parent();
	while (1) {
		my $client = $daemon->client;
		for my $question (@questions, "version\r\n") {
			$client->put($question);
			1 while ($client->line // "END\r\n") !~ /^(?:END|EN|RESET|VERSION|CLIENT_ERROR|SERVER_ERROR|ERROR|OK)/;
		}
		get($http, $_) for '/metrics', '/readyz', '/healthz';
	}
}

my @askers = map { asker(@$_) } (
	["stats\r\n", "stats settings\r\n", "stats persist\r\n", "stats latency\r\n"],
	["stats settings\r\n", "stats conns\r\n", "stats compress\r\n", "stats items\r\n", "config get cluster\r\n", "stats reset\r\n"],
	["lru_crawler metadump all\r\n", "watch mutations fetchers\r\n"],
);
my $changer = fork // die "fork: $!";
if (!$changer) {
	Hearth::Process::die_with_parent();
	for my $change (map { my $c = $_; map { [$c->[0], $_] } @$c[1, 2] } @changes) {
		my ($code, $out, $err) = run([program('hearth'), 'set', $daemon->dir, @$change]);
		$code == 0 or print STDERR "set @$change: $err" and POSIX::_exit(1);
	}
	POSIX::_exit(0);
}
my $load = Hearth::Load->new(daemon => $daemon, seed => $seed, keys => 200);
$load->connect;
my $changed;
while (!defined($changed = reap($changer, 0))) {
	$load->run(0.1) or last;
}
is($changed, 0, 'each option is changed and changed back under load');
ok($load->checkpoint, "who writes sees nothing of it, seed $seed") or diag $load->problems;
kill 'KILL', @askers;
waitpid $_, 0 for @askers;
$daemon->crash;
ok($load->verify('after a kill'), 'and nothing of it is lost') or diag $load->problems;
is($daemon->stop, 0, 'it stops in order');
done_testing;
