# SPDX-License-Identifier: BSD-3-Clause
# A headless Chromium, driven through chromedriver as WebDriver describes it: pages in a window of a chosen size and theme,
# scripts run in them, keys, screenshots.
package Hearth::Browser;
use strict;
use warnings;
use Carp qw(croak);
use Hearth::Daemon;
use Hearth::Process qw(reap scratch_dir slurp spawn spew wait_until);
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64 qw(decode_base64);

my $driver = '/usr/bin/chromedriver';
my $program = '/usr/bin/chromium';

sub there { return -x $driver && -x $program; }

sub start
{
	my ($class) = @_;
	my $dir = scratch_dir();
	my $self = bless { port => Hearth::Daemon::free_port(), http => HTTP::Tiny->new(timeout => 120, max_redirect => 0) }, $class;
	$self->{pid} = spawn([$driver, "--port=$self->{port}"], out => "$dir/out", err => "$dir/err", env => { HOME => $dir });
	wait_until('chromedriver', sub { $self->{http}->get("http://127.0.0.1:$self->{port}/status")->{success} }, 60);
	my @args = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--no-first-run',
		'--no-proxy-server', "--user-data-dir=$dir/profile");
	my $options = { binary => $program, args => \@args };
	my $capabilities = { alwaysMatch => { browserName => 'chrome', 'goog:chromeOptions' => $options, 'goog:loggingPrefs' => { browser => 'ALL' } } };
	$self->{session} = $self->call('POST', '/session', { capabilities => $capabilities })->{sessionId};
	return $self;
}

sub call
{
	my ($self, $method, $path, $body) = @_;
	my $at = $path eq '/session' ? $path : "/session/$self->{session}$path";
	my %content = $body ? (content => encode_json($body), headers => { 'Content-Type' => 'application/json' }) : ();
	my $a = $self->{http}->request($method, "http://127.0.0.1:$self->{port}$at", \%content);
	my $value = eval { decode_json($a->{content})->{value} };
	croak "$method $path: $a->{status} " . substr $a->{content}, 0, 500 unless $a->{success};
	return $value;
}

sub devtools { my ($self, $cmd, %params) = @_; return $self->call('POST', '/goog/cdp/execute', { cmd => $cmd, params => \%params }); }

# The size of the window in pixels of CSS, and 'light' or 'dark'.
sub look
{
	my ($self, $width, $height, $theme) = @_;
	$self->devtools('Emulation.setDeviceMetricsOverride', width => $width, height => $height, deviceScaleFactor => 1, mobile => JSON::PP::false);
	$self->devtools('Emulation.setEmulatedMedia', features => [{ name => 'prefers-color-scheme', value => $theme }]);
	return $self;
}

sub open { my ($self, $url) = @_; $self->call('POST', '/url', { url => $url }); return $self; }

# What the body of a function returns; its arguments are arguments[0] and so on.
sub script { my ($self, $body, @args) = @_; return $self->call('POST', '/execute/sync', { script => $body, args => \@args }); }

# Presses keys, one after the other: names of the table, or characters.
my %key = (Tab => "\x{e004}", Left => "\x{e012}", Right => "\x{e014}", Home => "\x{e011}", End => "\x{e010}", Escape => "\x{e00c}", Enter => "\x{e007}");
sub press
{
	my ($self, @keys) = @_;
	my @actions = map { my $k = $key{$_} // $_; ({ type => 'keyDown', value => $k }, { type => 'keyUp', value => $k }) } @keys;
	return $self->call('POST', '/actions', { actions => [{ type => 'key', id => 'keyboard', actions => \@actions }] });
}

# The whole page, however long, as PNG.
sub screenshot
{
	my ($self, $path) = @_;
	my $shot = $self->devtools('Page.captureScreenshot', format => 'png', captureBeyondViewport => JSON::PP::true);
	spew($path, decode_base64($shot->{data}));
	return;
}

# What the browser complained about since the last call.
sub complaints { my ($self) = @_; return map { $_->{message} } @{ $self->call('POST', '/se/log', { type => 'browser' }) }; }

sub stop
{
	my ($self) = @_;
	eval { $self->call('DELETE', '') };
	kill 'TERM', $self->{pid};
	reap($self->{pid}, 30);
	return;
}

1;
