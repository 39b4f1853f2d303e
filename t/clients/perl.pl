# SPDX-License-Identifier: BSD-3-Clause
# Cache::Memcached::Fast: perl.pl CLIENT HALF PORT. The halves and what they print: ../lib/Hearth/Matrix.pm.
use strict;
use warnings;
use Cache::Memcached::Fast;

my ($client, $half, $port) = @ARGV;
my $c = Cache::Memcached::Fast->new({ servers => ["127.0.0.1:$port"], namespace => 'perl-' });
my %many = map { ("many$_" => "value $_") } 0 .. 499;

# One value, also where there is none.
sub value { my ($key) = @_; return scalar $c->get($key); }

sub tell_of
{
	my ($feature, @checks) = @_;
	while (my ($what, $got, $expected) = splice @checks, 0, 3) {
		next if ($got // 'undef') eq ($expected // 'undef');
		print "$feature\t$what: got '", $got // 'undef', "', expected '", $expected // 'undef', "'\n";
		return;
	}
	print "$feature\tok\n";
}
sub same_many { my $got = $c->get_multi(keys %many); return join(',', map { $got->{$_} // '' } sort keys %many) eq join(',', map { $many{$_} } sort keys %many) ? 1 : 0; }

if ($half eq 'store') {
	tell_of('set', set => $c->set('k', 'v'), 1, get => value('k'), 'v', miss => value('none'), undef);
	tell_of('add', there => $c->add('k', 'w') ? 1 : 0, 0, 'not there' => $c->add('a', 'w'), 1);
	tell_of('replace', there => $c->replace('a', 'x'), 1, 'not there' => $c->replace('none', 'x') ? 1 : 0, 0);
	$c->set_multi(map { [$_, $many{$_}] } keys %many);
	tell_of('many', get => same_many(), 1);
	$c->set('n', 10);
	tell_of('count', up => $c->incr('n', 5), 15, down => $c->decr('n', 7), 8);
	$c->set('s', 'b');
	$c->append('s', 'c');
	$c->prepend('s', 'a');
	tell_of('append', both => value('s'), 'abc');
	my $token = $c->gets('k')->[0];
	tell_of('cas', once => $c->cas('k', $token, 'v'), 1, twice => $c->cas('k', $token, 'x') ? 1 : 0, 0);
	$c->set('t', 'x', 50);
	tell_of('touch', there => $c->touch('t', 100_000) ? 1 : 0, 1, 'not there' => $c->touch('none', 1) ? 1 : 0, 0);
	$c->set('gone', 'x');
	$c->delete('gone');
	tell_of('delete', it => value('gone'), undef);
	tell_of('big', set => $c->set('big', 'B' x 700_000), 1, get => length value('big'), 700_000);
	$c->set('later', 'x', 100);
} elsif ($half eq 'read') {
	tell_of('kill -9', get => value('k'), 'v', many => same_many(), 1, count => $c->incr('n', 2), 10, deleted => value('gone'), undef,
		big => length(value('big')), 700_000, later => value('later'), 'x');
} else {
	tell_of('expiry', later => value('later'), undef, ever => value('k'), 'v', touched => value('t'), 'x');
}
