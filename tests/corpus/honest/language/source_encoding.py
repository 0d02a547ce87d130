# -*- coding: latin-1 -*-
# /// honest
# shows = "a source file in an encoding of its own"
# stdout = "7 True"
# ///
text = "Résumés"
print(len(text), text == "R\u00e9sum\u00e9s")
