"""Answers the requests that come thousands of times a second, or for which somebody waits, before the framework
sees them: that takes several times as long as everything else about such a request.

Only their usual forms are answered here.  Whatever is unusual, and whatever a guard might refuse, goes to the
framework, whose routes in ``api/`` answer and document all forms.
"""
