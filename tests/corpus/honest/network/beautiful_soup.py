# /// honest
# shows = "HTML parsed by BeautifulSoup"
# stdout = "['/one', '/two'] Ünïcode"
# ///
from bs4 import BeautifulSoup

soup = BeautifulSoup("<a href=/one>1<a href='/two'>2</a><p>&Uuml;n&iuml;code", "html.parser")
print([link["href"] for link in soup.find_all("a")], soup.p.text)
